/** A product's page: its photos, what is known of it, and more like it. */

import { arrival } from "./page.js";
import { api, pagePath } from "./api.js";
import { read, write } from "./address.js";
import { $, h } from "./dom.js";
import { outfitsOf, ownedOf } from "./outfits.js";
import { described, mayAsk, pieces } from "./pieces.js";
import { Results, asProblem, costOf, recall } from "./results.js";
import { showState, showStrip } from "./states.js";
import { heart } from "./taste.js";
import { fieldName, isInternal, nameOf, plain, prose, shown, t } from "./texts.js";

const PAGE = 12;
const PROSE = 100; // a text that is longer is told, not listed
const TOLD_ELSEWHERE = /^(?:name|title|brand|vendor|(?:sale_|list_|regular_|compare_at_)?price|availability|in_stock)$/i;

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
  $("#brand").textContent = plain(String(item.offer.brand ?? ""));
  $("#price").replaceChildren(...costOf(item.offer).filter(Boolean));
  $("#shop").hidden = !item.offer.url;
  if (item.offer.url) $("#shop").href = item.offer.url;
  $("#search-with").href = `/?q=${encodeURIComponent(item.id)}`;
  inThisColor(item);
  $("#heart").replaceChildren(heart(item.id, name));
  $("#said").replaceChildren();
  mainPhoto = h("img", {
    src: api.photo(item, 960), alt: name, width: "4", height: "5", class: "coming",
    onload: (event) => event.target.classList.remove("coming"),
  });
  $("#main-photo").replaceChildren(mainPhoto);
  const color = colorOf(item);
  const same = photos.filter((photo) => colorOf(photo) === color);
  $("#views").hidden = same.length < 2;
  $("#views").replaceChildren(...same.map((photo, i) => h("li", {}, view(photo, photos, t("photo_n", { n: i + 1 })))));
  const others = otherColors(item, photos);
  $("#colors").hidden = others.length === 0;
  $("#colors ul").replaceChildren(...others.map((photo) => {
    const other = plain(colorOf(photo));
    return h("li", {}, view(photo, photos, other, h("span", { class: "detail" }, other)));
  }));

  const known = Object.entries(attributes).filter(([, value]) => value !== "" && value !== null && value?.length !== 0);
  const long = known.filter(([, value]) => typeof value === "string" && value.length > PROSE);
  $("#prose").textContent = long.map(([, value]) => prose(value)).join("\n\n");
  const facts = known.filter((entry) => !long.includes(entry) && !TOLD_ELSEWHERE.test(entry[0]) && !isInternal(entry[0]));
  $("#attributes").replaceChildren(...facts.map(([field, value]) =>
    h("div", {}, h("dt", {}, fieldName(field)), h("dd", { dir: "auto" }, told(value)))));
}

/** The field that names an item's one colour, if there is one. */
const colorField = ({ attributes }) => ["color", "colour"].find((name) => typeof attributes[name] === "string" && attributes[name] && !attributes[name].includes("|"));
const colorOf = (item) => item.attributes[colorField(item)] ?? "";

/** A photo of the same product in each other colour, seen from the same side where there is one. */
function otherColors(item, photos) {
  const found = new Map();
  for (const photo of photos.filter((one) => colorOf(one) && colorOf(one) !== colorOf(item))) {
    const known = found.get(colorOf(photo));
    const alike = photo.attributes.view === item.attributes.view;
    if (!known || (alike && known.attributes.view !== item.attributes.view)) found.set(colorOf(photo), photo);
  }
  return [...found.values()];
}

/** More of what is alike in this colour: the search with this photo, its colour as a filter. */
function inThisColor(item) {
  const { id, attributes } = item;
  const field = colorField(item);
  $("#same-color").hidden = !field;
  if (!field) return;
  $("#same-color").textContent = t("same_color", { color: plain(attributes[field]) });
  $("#same-color").href = write({ ...read(""), q: id, where: new Map([[field, { values: [attributes[field]] }]]) });
}

// an address leads there: the link of a feed sends the shopper to the shop
function told(value) {
  if (typeof value !== "string" || !/^https?:\/\//i.test(value) || !URL.canParse(value)) return shown(value);
  return h("a", { href: value, rel: "noopener" }, new URL(value).host);
}

function view(photo, photos, name, ...words) {
  const chosen = photo.id === current.id;
  const change = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (photo.id === current.id) return;
    // another photo of the same product is no new place: going back leads to the results
    history.replaceState(null, "", pagePath(photo.id));
    show(photo, photos);
    ($("#views:not([hidden]) [aria-current]") ?? main).focus({ preventScroll: true });
    results.search(PAGE);
  };
  return h("a", { href: pagePath(photo.id), "aria-current": chosen && "true", "aria-label": name, onclick: change },
    h("span", { class: "picture" }, h("img", { src: api.photo(photo, 160), alt: "", width: "4", height: "5" })), ...words);
}

/** A link that shows this product: handed to the device's own sharing, or copied. */
function sharing() {
  const button = $("#share");
  button.addEventListener("click", async () => {
    const link = new URL(pagePath(current.id), location.href).href;
    try {
      if (navigator.share) return await navigator.share({ title: nameOf(current), url: link });
      await navigator.clipboard.writeText(link);
      $("span", button).textContent = t("copied");
      setTimeout(() => ($("span", button).textContent = t("share")), 2000);
    } catch (error) {
      if (error.name !== "AbortError") $("span", button).textContent = link;
    }
  });
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
    $("#said").replaceChildren(h("p", { class: "wait" }, t("working")));
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
  $("#own").hidden = !(await mayAsk(await pieces()));
}

async function start() {
  wayBack();
  sharing();
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
