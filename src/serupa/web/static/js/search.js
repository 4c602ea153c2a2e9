/** The search page: a photo comes in, its look-alikes come out; the address holds the state. */

import "./page.js";
import { api } from "./api.js";
import { Problem } from "./client.js";
import { conditions, cropText, read, uploadOf, write } from "./address.js";
import { $, h } from "./dom.js";
import { Filters } from "./filters.js";
import { Frame } from "./frame.js";
import { keep, kept, prepare, setLargest } from "./photo.js";
import { Results, arrival, asProblem, recall } from "./results.js";
import { clear, showState, showStrip } from "./states.js";
import { nameOf, t } from "./texts.js";

const PATIENCE = 120; // ms before a photo that is being opened changes what is shown
const MOST = 100; // results that the API gives at once

const main = $("#main");
const startNotice = $("#start-notice");
const stripNotice = $("#notice");
let state = read();
let address = write(state);
let query = null; // {q, photo} of an upload, {q} of an item
let objectUrl = null;
let taking = 0;

const frame = new Frame($("#frame"), (crop) => {
  go({ crop }, { replace: true });
});
const results = new Results($("#found"), {
  ask,
  onRetry: () => run(),
  onEmpty: () =>
    state.where.size
      ? [{ kind: "none" }, [[t("clear"), () => go({ where: new Map() })]]]
      : [{ kind: "none_plain" }, []],
  repair: () =>
    state.where.size
      ? [[t("clear"), () => go({ where: new Map() })]]
      : [[t("another"), () => $("#another").click()]],
  onAnswer: (answer) => filters.showKind(answer),
  query: () => ({
    fields: { ...(query.photo ? { photo: query.photo.blob } : { from_id: query.q }), crop: state.crop && cropText(state.crop) },
    photo: frame.photo,
  }),
  heat: { frame: frame.frame, canvas: $("#query-heat"), photo: frame.photo, legend: $("#legend") },
});
const filters = new Filters(
  { filters: $("#filters"), choices: $("#choices"), chips: $("#chips") },
  state,
  (change) => go(change),
);

/* What is asked of the API */

async function ask(page, signal) {
  const choices = { ...page, metric: state.metric, by: state.by, where: conditions(state.where) };
  const part = { crop: state.crop && cropText(state.crop), kind: state.kind };
  if (query.photo) return api.search(query.photo.blob, { ...choices, ...part }, signal);
  if (!state.crop) return api.similar(query.q, choices, signal);
  query.blob ??= await api.photoBlob(query.q, 1280, signal);
  const answer = await api.search(query.blob, { ...choices, ...part }, signal);
  return { ...answer, hits: answer.hits.filter(({ id }) => id !== query.q) };
}

/* Going from state to state */

/** Change parts of the state, and show it. */
function go(change, { replace = false } = {}) {
  results.remember(address);
  const another = "q" in change && change.q !== state.q; // what one photo seems to show says nothing of the next
  state = { ...state, ...(another ? { kind: "" } : {}), ...change };
  address = write(state);
  if (replace) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  run();
}

/** Show the state: the query, its rectangle, the filters, and what is found. */
async function run({ entry = null, ask: wanted = state.k } = {}) {
  if (!state.q) return showStart();
  view("results");
  filters.sync(state);
  $("#whole").disabled = !state.crop;
  if (query?.q !== state.q) {
    results.forget();
    const running = state.q;
    const found = await loadQuery(state.q);
    if (running !== state.q) return;
    if (!found) return showStart({ kind: "lost" });
  }
  frame.set(state.crop);
  try {
    sessionStorage.setItem("serupa:last", address);
  } catch {
    // then a product's way back leads to the first page
  }
  if (entry) return results.restore(entry);
  return results.search(state.k, { ask: wanted });
}

async function loadQuery(q) {
  const hash = uploadOf(q);
  if (hash === null) {
    query = { q };
    showPhoto(api.photo(q, 1024));
    return true;
  }
  const photo = await kept(hash);
  if (!photo) return false;
  query = { q, photo };
  showPhoto(URL.createObjectURL(photo.blob), photo);
  return true;
}

function showPhoto(source, { width = 0, height = 0, name = "" } = {}) {
  if (objectUrl) URL.revokeObjectURL(objectUrl);
  objectUrl = source.startsWith("blob:") ? source : null;
  frame.frame.dataset.name = name;
  frame.show(source, width, height);
  $("#mini-photo").src = source;
}

function view(name) {
  if (main.dataset.view === name) return;
  const left = document.activeElement?.closest(".start, .query, .found");
  main.dataset.view = name;
  // the keyboard goes on at the top of what is shown now, not at the end of what is gone
  if (left) main.focus({ preventScroll: true });
  scrollTo({ top: 0, behavior: "instant" });
}

function showStart(problem = null) {
  view("start");
  if (problem) showState(startNotice, problem);
  else clear(startNotice);
  samples();
}

addEventListener("popstate", () => {
  results.remember(address);
  state = read();
  address = write(state);
  run({ entry: recall(address) });
});
for (const leaving of ["pagehide", "serupa:leaving"]) {
  addEventListener(leaving, () => state.q && results.remember(address));
}

/* Photos coming in */

async function take(file) {
  if (!file) return;
  const turn = ++taking;
  results.remember(address);
  const opening = setTimeout(() => {
    clear(startNotice);
    main.classList.add("opening");
    view("results");
    results.opening(state.k);
  }, PATIENCE);
  try {
    const photo = await prepare(file);
    if (turn !== taking) return;
    await keep(photo);
    clearTimeout(opening);
    main.classList.remove("opening");
    clear(startNotice);
    go({ q: `upload:${photo.hash}`, crop: null, where: new Map() });
  } catch (error) {
    if (turn !== taking) return;
    clearTimeout(opening);
    main.classList.remove("opening");
    refuse(asProblem(error));
  }
}

/** A file that cannot be searched with leaves everything as it was, and says why. */
function refuse(problem) {
  if (!state.q) {
    view("start");
    return showState(startNotice, problem);
  }
  results.closed();
  return showStrip(stripNotice, problem);
}

for (const id of ["browse", "camera", "another"]) {
  $(`#${id}`).addEventListener("change", ({ target }) => {
    take(target.files[0]);
    target.value = ""; // so that the same file can be chosen again
  });
}
$("#drop").addEventListener("click", (event) => {
  if (!event.target.closest("label, input, button, a, .notice, :has([data-state=empty])")) $("#browse").click();
});
$("#whole").addEventListener("click", () => {
  frame.reset();
  frame.region.focus({ preventScroll: true });
});
$("#mini").addEventListener("click", (event) => {
  event.preventDefault();
  scrollTo({ top: 0 });
  frame.region.focus({ preventScroll: true });
});

const carries = (event, type) => event.dataTransfer?.types.includes(type);
let inside = 0;
addEventListener("dragenter", (event) => {
  if (!carries(event, "Files")) return;
  inside += 1;
  document.body.classList.add("dragging");
});
addEventListener("dragleave", (event) => {
  if (!carries(event, "Files")) return;
  inside = Math.max(0, inside - 1);
  if (inside === 0) document.body.classList.remove("dragging");
});
addEventListener("dragover", (event) => {
  if (carries(event, "Files") || (carries(event, "text/uri-list") && event.target.closest?.("#query"))) event.preventDefault();
});
addEventListener("drop", (event) => {
  inside = 0;
  document.body.classList.remove("dragging");
  const [file] = event.dataTransfer?.files ?? [];
  if (file) {
    event.preventDefault();
    take(file);
  } else if (event.target.closest?.("#query")) {
    // a result dragged onto the photo is searched with
    const link = new URL(event.dataTransfer.getData("text/uri-list").split("\n")[0] || "/", location.href);
    if (link.origin !== location.origin || !link.pathname.startsWith("/item/")) return;
    event.preventDefault();
    go({ q: decodeURIComponent(link.pathname.slice("/item/".length)), crop: null, where: new Map() });
  }
});
addEventListener("paste", (event) => {
  const [file] = event.clipboardData?.files ?? [];
  if (!file) return;
  event.preventDefault();
  take(file);
});

/* The catalogue */

let sampled = false;
async function samples() {
  if (sampled) return;
  sampled = true;
  const place = $("#samples");
  try {
    const shown = await choose();
    if (shown.length === 0) {
      place.hidden = true;
      showState(startNotice, { kind: "empty" });
      return;
    }
    $("ul", place).replaceChildren(...shown.map((item) => {
      const go_ = (event) => {
        event.preventDefault();
        go({ q: item.id, crop: null });
      };
      return h("li", {}, h("a", { href: write({ ...read(""), q: item.id }), onclick: go_ },
        h("span", { class: "picture" },
          h("img", { src: api.photo(item, 320), alt: nameOf(item), width: "4", height: "5" }))));
    }));
  } catch {
    place.hidden = true; // the drop area is enough; a search will say what is wrong
  }
}

/** Three photos of the catalogue that differ: of three categories where it has them. */
async function choose() {
  const { fields } = await catalogue;
  const categories = fields.find(({ name, kind }) => name === "category" && kind === "text")?.values ?? [];
  if (categories.length >= 3) {
    const middle = Math.floor(categories.length / 2);
    const picked = [categories[0], categories[middle], categories.at(-1)];
    const lists = await Promise.all(picked.map(({ value }) => api.items({ where: [`category=${value}`], limit: 12 })));
    const front = (item) => /main|front|street/.test(item.attributes.view ?? ""); // rather than a back or a detail
    const found = lists.map(({ items }) => items.find(front) ?? items[0]).filter(Boolean);
    if (found.length === 3) return found;
  }
  const { items } = await api.items({ limit: 60 });
  const products = [...new Map(items.map((item) => [item.product_id ?? item.id, item])).values()];
  const step = Math.max(1, Math.floor(products.length / 3));
  return [0, step, 2 * step].map((i) => products[i]).filter(Boolean);
}

const catalogue = Promise.all([api.facets(), api.info()]).then(([{ fields }, info]) => {
  setLargest(info.limits?.body_bytes);
  main.classList.toggle("no-why", info.explains === false);
  filters.build(fields, info);
  return { fields, info };
});
catalogue.catch(() => {}); // without filters the search itself still works, or says what is wrong

/* On a phone the photo gives way to a small one beside the filters */
new IntersectionObserver(([{ isIntersecting }]) => main.classList.toggle("scrolled", !isIntersecting)).observe($(".stage"));

history.scrollRestoration = "manual";
const entry = recall(address);
if (arrival === "back_forward" && entry) {
  run({ entry });
} else {
  const loaded = arrival === "reload" && entry ? Math.min(MOST, Math.max(state.k, entry.answer.hits.length)) : state.k;
  run({ ask: loaded }).then(() => {
    if (arrival === "reload" && entry) scrollTo({ top: entry.top, behavior: "instant" });
  });
}
