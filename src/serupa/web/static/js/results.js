/** The grid of results: placeholders of the right shape, cards, more of them, and why they are alike. */

import { api, pagePath, sources } from "./api.js";
import { Problem, priceOf } from "./client.js";
import { $, $$, h } from "./dom.js";
import { drawMaps, legendOf, toggleOf } from "./explain.js";
import { clear, showBusy, showState } from "./states.js";
import { heart } from "./taste.js";
import { language, lastOf, nameOf, number, plain, t, tn } from "./texts.js";

const LONG = 100; // attributes longer than this are prose: not needed again for going back
const KEPT = 8; // result lists kept for going back
const MOST = 100; // results that the API gives at once
const AT_ONCE = 24; // cards that are filled before anybody scrolls to them
const NEAR = "1200px 0px"; // around what is in view, cards are filled
const STORE = "serupa:results";

export class Results {
  /**
   * options.ask(choices, signal) -> the API's answer; choices are {k, offset}.
   * options.onRetry() searches again; options.query() -> {fields, photo: <img>} for "why alike";
   * options.heat: {canvas, photo, legend, frame} of the query in view, if there is one.
   * options.onEmpty() -> the problem and actions to show when there is no result.
   */
  constructor(root, options) {
    this.root = root;
    this.options = options;
    this.grid = $("#grid", root);
    this.count = $("#count", root);
    this.notice = $("#notice", root);
    this.moreButton = $("#more", root);
    this.answer = null;
    // a card that is far from view keeps its place, not its content: a thousand are no more nodes than fifty
    this.hits = new WeakMap();
    this.near = new IntersectionObserver((entries) => entries.forEach((one) => this.#fill(one.target, one.isIntersecting)), { rootMargin: NEAR });
    this.moreButton.addEventListener("click", () => this.more());
    this.grid.addEventListener("click", (event) => {
      const toggle = event.target.closest(".why");
      if (toggle) this.#toggleWhy(toggle.closest(".card"));
    });
    this.grid.addEventListener("load", (event) => event.target.classList?.remove("coming"), true);
  }

  /** Search, and show what is found, up to as many as were seen before. Returns whether that went well. */
  async search(k, { upTo = 0 } = {}) {
    this.#stop();
    this.closeWhy();
    this.held = null;
    this.k = k;
    const controller = (this.controller = new AbortController());
    this.#wait(k);
    try {
      let answer = await this.options.ask({ k: Math.min(MOST, Math.max(k, upTo)), offset: 0 }, controller.signal);
      while (answer.more && answer.hits.length < upTo) {
        const next = await this.options.ask({ k: MOST, offset: answer.hits.length }, controller.signal);
        answer = { ...next, close: answer.close, hits: [...answer.hits, ...next.hits] };
      }
      if (controller !== this.controller) return false;
      this.show(answer);
      return true;
    } catch (error) {
      if (controller === this.controller) this.fail(error);
      return false;
    }
  }

  async more() {
    const controller = (this.controller = new AbortController());
    const known = this.answer.hits.length;
    this.moreButton.disabled = true;
    this.moreButton.textContent = t("more_loading");
    this.grid.append(...placeholders(this.k));
    this.root.classList.add("busy");
    try {
      const answer = await this.options.ask({ k: this.k, offset: known }, controller.signal);
      if (controller !== this.controller) return;
      const hits = [...this.answer.hits, ...answer.hits];
      this.answer = { ...answer, close: this.answer.close, hits };
      this.#clearWaiting();
      const cards = this.#cards(answer.hits);
      this.grid.append(...cards);
      this.#settle();
      // the button may be gone: the keyboard goes on where the new results begin
      if (document.activeElement === document.body || document.activeElement === this.moreButton) {
        if (cards[0]) this.#focus(cards[0]);
      }
    } catch (error) {
      if (controller !== this.controller) return;
      this.#clearWaiting();
      this.#settle();
      if (error.name !== "AbortError") {
        showState(this.notice, asProblem(error), [[t("retry"), () => (clear(this.notice), this.more())]]);
        this.grid.after(this.notice);
      }
    }
  }

  /** A photo is being opened: what is asked comes next. */
  opening(k) {
    this.#stop();
    this.closeWhy();
    this.forget();
    this.#wait(k);
    this.count.replaceChildren(t("preparing"));
  }

  /** Drop what is shown: the next search has another query, and starts from placeholders. */
  forget() {
    if (!this.held) this.held = this.answer;
    this.answer = null;
    this.grid.replaceChildren();
  }

  /** Show again what was shown before a photo that could not be opened. */
  closed() {
    if (this.held) this.show(this.held);
    this.held = null;
  }

  /** Show an answer at once, as when going back. */
  show(answer) {
    clear(this.notice);
    this.grid.before(this.notice);
    this.answer = answer;
    this.held = null;
    this.options.onAnswer?.(answer);
    this.#idle();
    this.grid.classList.toggle("shopped", answer.hits.some(({ offer }) => offer.url));
    this.grid.replaceChildren(...this.#cards(answer.hits));
    this.#settle();
    if (answer.hits.length === 0) {
      const [problem, actions] = this.options.onEmpty();
      showState(this.notice, problem, actions);
    }
  }

  fail(error) {
    if (error.name === "AbortError") return;
    const problem = asProblem(error);
    this.#idle();
    this.answer = null;
    this.grid.replaceChildren();
    this.count.replaceChildren();
    this.moreButton.hidden = true;
    this.grid.before(this.notice);
    const retry = () => this.options.onRetry();
    if (problem.kind === "busy") this.stopBusy = showBusy(this.notice, problem, retry);
    else if (problem.kind === "lost") showState(this.notice, problem);
    else if (problem.kind === "missing") showState(this.notice, problem, [[t("to_search"), "/"]]);
    else if (["gone", "fault"].includes(problem.kind)) showState(this.notice, problem, [[t("retry"), retry]]);
    else showState(this.notice, problem, this.options.repair?.(problem) ?? []);
  }

  /* Waiting */

  #stop() {
    this.controller?.abort();
    this.stopBusy?.();
    this.stopBusy = null;
  }

  #wait(k) {
    clear(this.notice);
    this.root.classList.add("busy");
    this.root.setAttribute("aria-busy", "true");
    this.count.replaceChildren(t("looking"));
    const shown = $$(".card:not(.waiting)", this.grid).length;
    this.root.classList.toggle("refining", shown > 0);
    if (shown === 0) this.grid.replaceChildren(...placeholders(k));
    this.moreButton.hidden = true;
  }

  #idle() {
    this.root.classList.remove("busy", "refining");
    this.root.removeAttribute("aria-busy");
  }

  #clearWaiting() {
    for (const card of $$(".waiting", this.grid)) card.remove();
    this.#idle();
  }

  #settle() {
    const { hits, more } = this.answer;
    const name = more ? t("found_more", { count: number(hits.length) }) : tn("found", hits.length, { count: number(hits.length) });
    const far = this.answer.close === false ? h("span", { class: "far" }, t("nothing_close")) : "";
    this.count.replaceChildren(...(hits.length ? [h("strong", {}, name), far] : []));
    this.moreButton.hidden = !more || hits.length === 0;
    this.moreButton.disabled = false;
    this.moreButton.textContent = t("more");
  }

  /* Cards */

  #cards(hits) {
    return hits.map((hit, n) => {
      const card = h("li", { class: "card", data: { id: hit.id } });
      this.hits.set(card, hit);
      this.#fill(card, n < AT_ONCE);
      this.near.observe(card);
      return card;
    });
  }

  #focus(card) {
    this.#fill(card, true);
    $(".name", card).focus({ preventScroll: true });
  }

  #fill(card, near) {
    if (near !== (card.childElementCount > 0)) {
      if (near) card.append(...this.#card(this.hits.get(card)));
      else if (!card.matches(".explained, :focus-within")) card.replaceChildren();
    }
    card.classList.toggle("away", card.childElementCount === 0);
  }

  #card(hit) {
    const { attributes, offer } = hit;
    const main = hit.main_id ?? hit.id;
    const name = nameOf(hit);
    const above = plain(String(offer.brand || (attributes.name && attributes.category && lastOf(String(attributes.category))) || ""));
    return [
      h("div", { class: "pictures" },
        h("div", { class: "picture" }, photoOf(main === hit.id ? hit : main, hit.rank)),
        main !== hit.id && h("div", { class: "picture inset", title: t("matching_photo") }, photoOf(hit, hit.rank))),
      h("div", { class: "words" },
        h("span", { class: "detail", dir: "auto" }, above),
        h("a", { class: "name", href: pagePath(hit.id), title: name, dir: "auto", onclick: () => api.clicked(hit, "item") }, name),
        h("span", { class: "cost" }, costOf(offer)),
        offer.url && h("a", { class: "shop", href: offer.url, rel: "noopener nofollow", "aria-label": t("in_shop_of", { name }), onclick: () => api.clicked(hit, "shop") }, t("in_shop"))),
      heart(hit.id, name),
      toggleOf(name),
    ];
  }

  /* Why alike? */

  closeWhy() {
    const { heat } = this.options;
    this.whyController?.abort();
    for (const card of $$(".card.explained, .card:has(.why[aria-pressed=true])", this.grid)) {
      card.classList.remove("explained");
      $(".why", card).setAttribute("aria-pressed", "false");
      $(".why", card).removeAttribute("aria-busy");
      for (const extra of $$(".heat, .pair, .legend, .why-failed", card)) extra.remove();
    }
    if (heat) {
      heat.frame.classList.remove("explained");
      heat.canvas.hidden = true;
      heat.legend.hidden = true;
    }
  }

  async #toggleWhy(card) {
    const toggle = $(".why", card);
    const wasOpen = toggle.getAttribute("aria-pressed") === "true";
    this.closeWhy();
    if (wasOpen) return;
    toggle.setAttribute("aria-pressed", "true");
    toggle.setAttribute("aria-busy", "true");
    const controller = (this.whyController = new AbortController());
    const query = this.options.query();
    try {
      const fields = { ...query.fields, item_id: card.dataset.id, metric: this.answer.metric };
      const explained = await api.explain(fields, controller.signal);
      if (controller !== this.whyController || !card.isConnected) return;
      this.#showWhy(card, explained, query.photo);
    } catch (error) {
      if (error.name === "AbortError" || controller !== this.whyController) return;
      toggle.setAttribute("aria-pressed", "false");
      $(".words", card).append(h("span", { class: "why-failed", role: "alert" }, t("why_failed")));
    } finally {
      if (controller === this.whyController) toggle.removeAttribute("aria-busy");
    }
  }

  #showWhy(card, explained, queryPhoto) {
    const { heat } = this.options;
    const pairPhoto = h("img", { src: queryPhoto.currentSrc || queryPhoto.src, alt: t("photo_alt") });
    const pairCanvas = h("canvas", { class: "heat" });
    const canvas = h("canvas", { class: "heat" });
    const picture = $(".picture", card);
    picture.append(canvas);
    picture.before(h("div", { class: "picture pair" }, pairPhoto, pairCanvas));
    card.append(h("div", { class: "legend" }, legendOf(explained)));
    card.classList.add("explained");
    const querySpots = [{ canvas: pairCanvas, photo: pairPhoto }];
    if (heat) {
      querySpots.push({ canvas: heat.canvas, photo: heat.photo });
      heat.frame.classList.add("explained");
      heat.legend.replaceChildren(...legendOf(explained));
      heat.legend.hidden = false;
    }
    // the cells are those of the photo that matched, which need not be the product's first
    const photo = $("img", picture);
    const shown = this.hits.get(card);
    if (shown.main_id && shown.main_id !== shown.id) Object.assign(photo, { srcset: "", src: api.photo(shown, 640) });
    drawMaps(explained, querySpots, [{ canvas, photo }]);
  }

  /* Going back */

  /** Keep what is shown, where the page is scrolled to and what has the focus, for this address. */
  remember(address) {
    if (!this.answer) return;
    const hits = this.answer.hits.map((hit) => ({
      ...hit,
      attributes: Object.fromEntries(
        Object.entries(hit.attributes).filter(([, value]) => String(value).length <= LONG),
      ),
    }));
    const focused = $(".card:focus-within", this.grid)?.dataset.id ?? null;
    const entry = { address, answer: { ...this.answer, hits }, k: this.k, top: scrollY, focused };
    const others = remembered().filter((one) => one.address !== address);
    store([entry, ...others].slice(0, KEPT));
  }

  /** Show what was kept for an address. */
  restore(entry) {
    this.#stop();
    this.closeWhy();
    this.k = entry.k;
    this.show(entry.answer);
    scrollTo({ top: entry.top, behavior: "instant" });
    if (entry.focused) {
      const card = $$(".card", this.grid).find((one) => one.dataset.id === entry.focused);
      if (card) this.#focus(card);
    }
  }
}

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(STORE)) ?? [];
  } catch {
    return [];
  }
}

function store(entries) {
  for (let count = entries.length; count > 0; count -= 1) {
    try {
      return sessionStorage.setItem(STORE, JSON.stringify(entries.slice(0, count)));
    } catch {
      // no room for so many; without any, going back searches again
    }
  }
}

export const recall = (address) => remembered().find((entry) => entry.address === address) ?? null;

export const asProblem = (error) => (error instanceof Problem ? error : new Problem("fault", { detail: String(error) }));

/** What is to be paid, and what was asked before; or that there is none left. */
export function costOf({ price, list_price: before, currency, in_stock: stock }) {
  const told = (amount) => priceOf(amount, currency, language);
  return [
    price !== null && h(before === null ? "span" : "ins", {}, told(price)),
    before !== null && h("del", {}, told(before)),
    stock === false && h("span", { class: "sold-out" }, t("sold_out")),
  ];
}

function photoOf(item, rank) {
  return h("img", {
    src: api.photo(item, 480), srcset: sources(item), sizes: "(min-width: 1040px) 232px, (min-width: 600px) 170px, 46vw", alt: "",
    width: "4", height: "5", loading: rank > 12 ? "lazy" : "eager", decoding: "async", class: "coming",
  });
}

const placeholders = (count) =>
  Array.from({ length: count }, () =>
    h("li", { class: "card waiting", "aria-hidden": "true" },
      h("div", { class: "pictures" }, h("div", { class: "picture" })),
      h("div", { class: "words" }, h("span", { class: "line short" }), h("span", { class: "line" }))));
