/** A product's page: its photos, what is known of it, and more like it. */

import "./page.js";
import { api, pagePath } from "./api.js";
import { $, h } from "./dom.js";
import { outfitsOf, ownedOf } from "./outfits.js";
import { described, pieces } from "./pieces.js";
import { Results, arrival, asProblem, recall } from "./results.js";
import { showState, showStrip } from "./states.js";
import { heart } from "./taste.js";
import { fieldName, nameOf, plain, price, shown, t } from "./texts.js";

const PAGE = 12;
const PROSE = 100; // a text that is longer is told, not listed
const TOLD_ELSEWHERE = new Set(["name", "price", "currency"]);

const main = $("#main");
let current = null;
let mainPhoto = null;

const results = new Results($("#found"), {
  ask: (page, signal) => api.similar(current.id, { ...page, by: "product" }, signal),
  onRetry: () => results.search(PAGE),
  onEmpty: () => [{ kind: "none_plain" }, []],
  query: () => ({ fields: { from_id: current.id }, photo: mainPhoto }),
});

function show(item, photos) {
  current = item;
  const { attributes } = item;
  const name = nameOf(item);
  document.title = `${name} – ${t("site")}`;
  $("#name").textContent = name;
  $("#price").textContent = price(attributes);
  $("#search-with").href = `/?q=${encodeURIComponent(item.id)}`;
  $("#heart").replaceChildren(heart(item.id, name));
  $("#said").replaceChildren();
  mainPhoto = h("img", {
    src: api.photo(item, 1024), alt: name, width: "4", height: "5", class: "coming",
    onload: (event) => event.target.classList.remove("coming"),
    onerror: (event) => event.target.classList.add("broken"),
  });
  $("#main-photo").replaceChildren(mainPhoto);
  $("#views").hidden = photos.length < 2;
  $("#views").replaceChildren(...photos.map((photo, i) => view(photo, i, photos)));

  const known = Object.entries(attributes).filter(([, value]) => value !== "" && value !== null && value?.length !== 0);
  const prose = known.filter(([, value]) => typeof value === "string" && value.length > PROSE);
  $("#prose").textContent = prose.map(([, value]) => plain(value)).join("\n\n");
  const facts = known.filter((entry) => !prose.includes(entry) && !TOLD_ELSEWHERE.has(entry[0]));
  if (item.product_id && item.product_id !== attributes.name) facts.push(["product_id", item.product_id]);
  $("#attributes").replaceChildren(...facts.map(([field, value]) =>
    h("div", {}, h("dt", {}, fieldName(field)), h("dd", {}, told(value)))));
}

// an address leads there: the link of a feed sends the shopper to the shop
function told(value) {
  if (typeof value !== "string" || !/^https?:\/\//i.test(value) || !URL.canParse(value)) return shown(value);
  return h("a", { href: value, rel: "noopener" }, new URL(value).host);
}

function view(photo, i, photos) {
  const chosen = photo.id === current.id;
  const change = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (photo.id === current.id) return;
    // another photo of the same product is no new place: going back leads to the results
    history.replaceState(null, "", pagePath(photo.id));
    show(photo, photos);
    $(`#views li:nth-child(${i + 1}) a`).focus({ preventScroll: true });
    results.search(PAGE);
  };
  return h("li", {}, h("a", { href: pagePath(photo.id), "aria-current": chosen && "true", "aria-label": t("photo_n", { n: i + 1 }), onclick: change },
    h("span", { class: "picture" }, h("img", { src: api.photo(photo, 160), alt: "", width: "4", height: "5" }))));
}

function wayBack() {
  let last = null;
  try {
    last = sessionStorage.getItem("serupa:last");
  } catch {
    // without storage the way back is to the first page
  }
  const back = $("#back");
  if (!last) {
    $("span", back).textContent = t("title_search");
    return;
  }
  back.href = last;
  back.addEventListener("click", (event) => {
    const from = document.referrer && new URL(document.referrer);
    if (!from || from.origin !== location.origin || from.pathname !== "/") return;
    event.preventDefault();
    history.back();
  });
}

/** Ask about this item, with what is owned; the answer is said under the buttons. */
function asking(button, work) {
  button.addEventListener("click", async () => {
    button.setAttribute("aria-busy", "true");
    try {
      $("#said").replaceChildren(...(await work(await pieces())));
    } catch (error) {
      showStrip($("#said"), asProblem(error));
    } finally {
      button.removeAttribute("aria-busy");
    }
  });
}

async function advice() {
  asking($("#complete"), async (owned) => outfitsOf(await api.outfits({ piece: current.id, wardrobe: described(owned) }), owned));
  asking($("#own"), async (owned) => ownedOf(await api.own({ item_id: current.id, wardrobe: described(owned) }), owned));
  $("#own").hidden = (await pieces()).length === 0;
}

async function start() {
  wayBack();
  advice();
  const given = $("#item-data");
  const id = decodeURIComponent(location.pathname.slice("/item/".length));
  try {
    const item = given ? JSON.parse(given.textContent) : await api.item(id);
    const photos = [item, ...(item.photos ?? [])].sort((a, b) => (a.id < b.id ? -1 : 1));
    show(item, photos);
  } catch (error) {
    const problem = asProblem(error);
    main.classList.add("missing");
    const again = [t("retry"), () => location.reload()];
    showState($("#item-notice"), problem, problem.kind === "missing" ? [[t("to_search"), "/"]] : [again]);
    return;
  }
  history.scrollRestoration = "manual";
  api.info().then(({ explains }) => main.classList.toggle("no-why", explains === false)).catch(() => {});
  const here = () => location.pathname;
  const entry = recall(here());
  for (const leaving of ["pagehide", "serupa:leaving"]) addEventListener(leaving, () => results.remember(here()));
  if (arrival === "back_forward" && entry) results.restore(entry);
  else {
    const well = await results.search(PAGE);
    if (well && arrival === "reload" && entry) scrollTo({ top: entry.top, behavior: "instant" });
  }
}

start();
