/**
 * `<serupa-search>`: the search by photo in any page, by one line:
 *
 *     <script type="module" src="https://search.shop.example/static/js/serupa-search.js"></script>
 *     <serupa-search></serupa-search>
 *
 * Attributes, events, parts and variables are in docs/web.md. Nothing here needs a policy wider than the server's own
 * address: styles are constructed, the photo is drawn, and no markup is parsed.
 */

import { Client, Problem, priceOf } from "./client.js";
import { h } from "./dom.js";
import { prepare } from "./photo.js";

const TEXTS = {
  en: {
    title: "Search by photo", choose: "Choose a photo", another: "Another photo", drop: "or drop one here", words: "Describe it", yours: "Your photo",
    looking: "Looking …", found: "{count} look-alikes", none: "Nothing looks like it.", more: "Show more", sold_out: "Sold out", before: "Before:",
    busy: "Many people are searching. Try again in a moment.", gone: "The search does not answer. Try again in a moment.",
    large: "The photo is too large.", unreadable: "The photo cannot be read.", failed: "The search failed.",
  },
  id: {
    title: "Cari dengan foto", choose: "Pilih foto", another: "Foto lain", drop: "atau letakkan di sini", words: "Tuliskan", yours: "Foto Anda",
    looking: "Mencari …", found: "{count} yang serupa", none: "Tidak ada yang serupa.", more: "Tampilkan lagi", sold_out: "Habis", before: "Sebelumnya:",
    busy: "Banyak orang sedang mencari. Coba sebentar lagi.", gone: "Pencarian tidak menjawab. Coba sebentar lagi.",
    large: "Foto terlalu besar.", unreadable: "Foto tidak dapat dibaca.", failed: "Pencarian gagal.",
  },
};
const SAID = { busy: "busy", gone: "gone", large: "large", unreadable: "unreadable", not_photo: "unreadable", empty_file: "unreadable" };

const STYLE = new CSSStyleSheet();
STYLE.replaceSync(`
  :host {
    display: block;
    font: 1rem / 1.5 var(--serupa-font, inherit); color: var(--serupa-ink, light-dark(#191816, #f2f0ec));
  }
  :host([hidden]), [hidden] { display: none !important; }
  * { box-sizing: border-box; margin: 0; padding: 0; }
  .drop {
    display: flex; flex-wrap: wrap; align-items: center; justify-content: center; gap: 8px 16px; padding: 24px 16px;
    border: 1px dashed var(--serupa-line, light-dark(#8a867f, #7d7972)); border-radius: var(--serupa-radius, 4px);
  }
  .drop.over { border-color: var(--serupa-accent, light-dark(#bf3417, #ff7d5c)); }
  .photo { max-width: 96px; max-height: 120px; border-radius: var(--serupa-radius, 4px); }
  .soft { color: var(--serupa-soft, light-dark(#5f5b55, #aaa59d)); font-size: 0.8125em; }
  .button {
    position: relative; display: inline-flex; align-items: center; min-height: 44px; padding: 0 16px; cursor: pointer; font: inherit;
    border: 1px solid var(--serupa-ink, light-dark(#191816, #f2f0ec)); border-radius: var(--serupa-radius, 4px);
    background: none; color: inherit;
  }
  .choose { background: var(--serupa-ink, light-dark(#191816, #f2f0ec)); color: var(--serupa-paper, light-dark(#faf9f7, #141312)); }
  .choose input { position: absolute; inset: 0; opacity: 0; cursor: pointer; }
  .button:has(:focus-visible), :focus-visible { outline: 2px solid var(--serupa-accent, light-dark(#bf3417, #ff7d5c)); outline-offset: 2px; }
  .status { min-height: 40px; padding: 8px 0; }
  .grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(var(--serupa-card, 160px), 45%), 1fr)); gap: 24px 12px; list-style: none; }
  .grid.busy { opacity: 0.5; }
  .card { display: block; width: 100%; color: inherit; font: inherit; text-align: start; text-decoration: none; background: none; border: 0; cursor: pointer; }
  .card img { display: block; width: 100%; height: auto; aspect-ratio: 4 / 5; object-fit: cover; background: var(--serupa-tint, light-dark(#efedea, #262422)); border-radius: var(--serupa-radius, 4px); }
  .card img { margin-bottom: 8px; }
  .line { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
  .line:empty { display: none; }
  .card:hover .name { text-decoration: underline; }
  .price s { color: var(--serupa-soft, light-dark(#5f5b55, #aaa59d)); }
  .sale { color: var(--serupa-accent, light-dark(#bf3417, #ff7d5c)); }
  .words { flex: 1 1 160px; min-width: 0; max-width: 320px; min-height: 44px; padding: 0 12px; font: inherit; color: inherit; background: none; border: 1px solid var(--serupa-line, light-dark(#8a867f, #7d7972)); border-radius: var(--serupa-radius, 4px); }
  .more { display: flex; justify-content: center; padding-top: 24px; }
  @media (hover: none) { .mouse-only { display: none; } }
  .unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
`);

/**
 * Attributes: `server` (its address; where this module came from unless given), `key` (where reading needs one), `item` (search with it at
 * once), `k`, `by`, `sort`, `where` (filters, one a line), `lang`, `target` of the links.
 *
 * Events: `serupa:search` ({answer}), once there are results; `serupa:select` (the hit), cancelable: without `preventDefault()` the link of the
 * product is followed; `serupa:problem` ({problem}).
 */
export class SerupaSearch extends HTMLElement {
  static observedAttributes = ["item"];
  #parts = {};
  #query = null;
  #words = "";
  #answer = null;
  #controller = null;

  connectedCallback() {
    if (this.shadowRoot) return;
    this.attachShadow({ mode: "open" }).adoptedStyleSheets = [STYLE];
    const input = h("input", { type: "file", accept: "image/*", "aria-label": this.#text("choose"), onchange: () => {
      const [file] = input.files;
      input.value = ""; // so that the same file can be chosen again
      if (file) this.search(file);
    } });
    const words = h("input", { type: "search", class: "words", part: "words", maxlength: "500", enterkeyhint: "search", placeholder: this.#text("words"), "aria-label": this.#text("words"), onchange: () => this.describe(words.value) });
    /** @type {Record<string, HTMLElement>} */
    const parts = this.#parts = {
      label: h("span", {}, this.#text("choose")),
      photo: h("canvas", { class: "photo", part: "photo", hidden: true, role: "img", "aria-label": this.#text("yours") }),
      status: h("p", { class: "status soft", part: "status", role: "status" }),
      grid: h("ol", { class: "grid", part: "grid" }),
      more: h("p", { class: "more", hidden: true }, h("button", { type: "button", class: "button", part: "button more", onclick: () => this.#ask({ more: true }) }, this.#text("more"))),
    };
    parts.drop = h("div", { class: "drop", part: "drop" },
      parts.photo, h("label", { class: "button choose", part: "button choose" }, parts.label, input), h("span", { class: "soft mouse-only" }, this.#text("drop")), words);
    this.shadowRoot.append(h("section", { "aria-label": this.#text("title") }, parts.drop, parts.status, parts.grid, parts.more));
    for (const type of ["dragenter", "dragover", "dragleave", "drop"]) parts.drop.addEventListener(type, this);
    const item = this.getAttribute("item");
    if (item) this.similar(item);
  }

  disconnectedCallback() {
    this.#controller?.abort();
  }

  attributeChangedCallback(_, before, item) {
    if (this.shadowRoot && item && item !== before) this.similar(item);
  }

  /** The last answer of the API, or null. */
  get answer() {
    return this.#answer;
  }

  /** Search with a photo. @param {Blob} file */
  async search(file) {
    this.#controller?.abort();
    try {
      const photo = await prepare(file);
      this.#query = (client, choices, signal) => client.search(photo.blob, choices, signal);
      await this.#draw(photo.blob);
    } catch (problem) {
      this.#fail(problem);
      return;
    }
    await this.#ask();
  }

  /** Search with an item of the catalogue. @param {string} id */
  async similar(id) {
    this.#query = (client, choices, signal) => client.similar(id, choices, signal);
    this.#parts.photo.hidden = true;
    await this.#ask();
  }

  /** Search by words, beside the photo or item if there is one. @param {string} words */
  async describe(words) {
    this.#words = words.trim();
    if (!this.#query && !this.#words) return;
    await this.#ask();
  }

  handleEvent(event) {
    event.preventDefault();
    this.#parts.drop.classList.toggle("over", event.type === "dragenter" || event.type === "dragover");
    const [file] = event.type === "drop" ? event.dataTransfer.files : [];
    if (file) this.search(file);
  }

  #text(name, values = {}) {
    const language = this.#language.split("-")[0];
    return (TEXTS[language] ?? TEXTS.en)[name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
  }

  get #language() {
    return /** @type {HTMLElement | null} */ (this.closest("[lang]"))?.lang || navigator.language;
  }

  async #ask({ more = false } = {}) {
    this.#controller?.abort();
    const { signal } = (this.#controller = new AbortController());
    const { grid, status } = this.#parts;
    const get = (name) => this.getAttribute(name) ?? undefined;
    const client = new Client({ server: get("server") ?? new URL(import.meta.url).origin, key: get("key") });
    const choices = {
      k: Number(get("k")) || 12, by: get("by") ?? "product", sort: get("sort"), offset: more ? this.#answer.hits.length : 0,
      text: this.#words || undefined,
      where: (get("where") ?? "").split("\n").map((line) => line.trim()).filter(Boolean),
    };
    grid.classList.add("busy");
    status.textContent = this.#text("looking");
    try {
      const ask = this.#query ?? ((asking, wanted, stop) => asking.search(null, wanted, stop)); // words alone
      const answer = await ask(client, choices, signal);
      const hits = more ? [...this.#answer.hits, ...answer.hits] : answer.hits;
      this.#answer = { ...answer, hits };
      const cards = answer.hits.map((hit) => this.#card(client, hit));
      if (more) grid.append(...cards);
      else grid.replaceChildren(...cards);
      this.#parts.more.hidden = !answer.more;
      this.#parts.label.textContent = this.#text("another");
      status.textContent = hits.length ? this.#text("found", { count: hits.length.toLocaleString(this.#language) }) : this.#text("none");
      if (more) cards[0]?.firstElementChild.focus({ preventScroll: true });
      this.#tell("serupa:search", { answer: this.#answer });
    } catch (problem) {
      if (!signal.aborted) this.#fail(problem);
    }
    if (!signal.aborted) grid.classList.remove("busy");
  }

  #fail(problem) {
    this.#parts.status.textContent = this.#text(SAID[problem.kind] ?? "failed");
    this.#tell("serupa:problem", { problem: problem instanceof Problem ? problem : new Problem("fault", { detail: String(problem) }) });
  }

  #tell(type, detail, more = {}) {
    return this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true, ...more }));
  }

  #card(client, hit) {
    const { offer } = hit;
    const money = (amount) => priceOf(amount, offer.currency, this.#language);
    const select = (event) => {
      client.clicked(hit, offer.url ? "shop" : "item");
      if (!this.#tell("serupa:select", hit, { cancelable: true })) event.preventDefault();
    };
    const link = offer.url ? { href: offer.url, rel: "noopener", target: this.getAttribute("target") } : { type: "button" };
    const photo = h("img", { alt: "", width: "4", height: "5", loading: "lazy", decoding: "async", part: "picture" });
    client.show(photo, hit, 480).catch(() => {}); // a photo that is gone leaves its box empty
    return h("li", {}, h(offer.url ? "a" : "button", { class: "card", part: "card", ...link, onclick: select },
      photo,
      h("span", { class: "soft line", part: "brand" }, offer.brand),
      h("span", { class: "name line", part: "name" }, hit.name),
      offer.price !== null && h("span", { class: "price", part: "price" },
        h("span", { class: offer.list_price ? "sale" : null }, money(offer.price)),
        offer.list_price && [" ", h("span", { class: "unseen" }, this.#text("before")), h("s", { class: "soft" }, money(offer.list_price))]),
      offer.in_stock === false && h("span", { class: "soft", part: "stock" }, " ", this.#text("sold_out"))));
  }

  /** A drawn photo needs no address of its own, which a strict policy would refuse. */
  async #draw(blob) {
    const { photo } = this.#parts;
    const bitmap = await createImageBitmap(blob, { imageOrientation: "from-image" }).catch(() => null);
    photo.hidden = bitmap === null; // such as a TIFF, which the server reads and this browser does not
    if (bitmap === null) return;
    const scale = Math.min(192 / bitmap.width, 240 / bitmap.height);
    photo.width = Math.round(bitmap.width * scale);
    photo.height = Math.round(bitmap.height * scale);
    photo.getContext("2d").drawImage(bitmap, 0, 0, photo.width, photo.height);
    bitmap.close();
  }
}

customElements.define("serupa-search", SerupaSearch);
