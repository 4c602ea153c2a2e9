/** The search page: a photo or words come in, look-alikes come out; the address holds the state. */

import { arrival } from "./page.js";
import { api } from "./api.js";
import { asks, conditions, cropText, read, uploadOf, write } from "./address.js";
import { Problem } from "./client.js";
import { $, $$, h } from "./dom.js";
import { hideDots, showDots } from "./dots.js";
import { Filters } from "./filters.js";
import { Frame } from "./frame.js";
import { forget, keep, kept, prepare, recent, setLargest } from "./photo.js";
import { Results, asProblem, costOf, recall } from "./results.js";
import { clear, showState, showStrip } from "./states.js";
import { lastOf, nameOf, plain, t } from "./texts.js";
import { offerUndo } from "./undo.js";

const PATIENCE = 120; // ms before a photo that is being opened changes what is shown
const RECENT = 6;
const ASKED = "serupa:asked"; // what was asked in words lately, on this device
const REMEMBERED = 8;
const VARIED = 0.5; // how unlike each other things are that are shown for a filter alone

const main = $("#main");
const startNotice = $("#start-notice");
const stripNotice = $("#notice");
const about = JSON.parse($("#about").textContent); // what the catalogue is, null while it is first counted

/** What is shown: what the address says, the query behind it, and what is on its way. */
const page = { state: read(), address: "", query: null, objectUrl: null, taking: 0 };
page.address = write(page.state);

const frame = new Frame($("#frame"), (crop) => go({ crop }, { replace: true }));
const withoutFilters = () => go({ where: new Map() });
const results = new Results($("#found"), {
  ask,
  onRetry: () => run(),
  onEmpty: () => (page.state.where.size ? [{ kind: "none" }, [[t("clear"), withoutFilters]]] : [{ kind: "none_plain" }, []]),
  repair: () => [page.state.where.size ? [t("clear"), withoutFilters] : [t("another"), () => $("#another").click()]],
  onAnswer: (answer) => filters.showAnswer(answer),
  query: () => {
    const { query, state } = page;
    const from = query.photo ? { photo: query.photo.blob } : { from_id: query.q };
    return { fields: { ...from, crop: state.crop && cropText(state.crop) }, photo: frame.photo };
  },
  heat: { frame: frame.frame, canvas: $("#query-heat"), photo: frame.photo, legend: $("#legend") },
});
const filters = new Filters({ filters: $("#filters"), choices: $("#choices"), chips: $("#chips") }, page.state, (change) => go(change));

/* What is asked of the API */

async function ask(part, signal) {
  const { state, query } = page;
  const { metric, by, sort, kind } = state;
  const choices = { ...part, metric, by, sort, where: conditions(state.where) };
  if (!query && !state.text) return api.recommend({ ...part, taste: "{}", diversity: VARIED, where: choices.where }, signal);
  if (state.text) choices.text = state.text;
  if (!query) return api.search(null, { ...choices, kind }, signal);
  const crop = state.crop && cropText(state.crop);
  try {
    if (query.photo) return await api.search(query.photo.blob, { ...choices, kind, crop }, signal);
    if (!crop) return await api.similar(query.q, choices, signal);
    query.blob ??= await api.photoBlob(query.q, 1280, signal);
    const answer = await api.search(query.blob, { ...choices, kind, crop }, signal);
    return { ...answer, hits: answer.hits.filter(({ id }) => id !== query.q) };
  } catch (problem) {
    if (query.photo) problem.file ??= query.photo.name;
    throw problem;
  }
}

/* Going from state to state */

/** Change parts of the state, and show it. */
function go(change, { replace = false } = {}) {
  results.remember(page.address);
  const another = "q" in change && change.q !== page.state.q; // what one photo seems to show says nothing of the next
  page.state = { ...page.state, ...(another ? { kind: "" } : {}), ...change };
  page.address = write(page.state);
  if (replace) history.replaceState(null, "", page.address);
  else history.pushState(null, "", page.address);
  run();
}

/** Show the state: the query, its rectangle, the filters, and what is found; `upTo` results where more were seen. */
async function run({ entry = null, upTo = 0 } = {}) {
  const { state } = page;
  if (!asks(state)) return showStart();
  view("results");
  main.classList.toggle("no-photo", !state.q);
  main.classList.toggle("browsing", !state.q && !state.text);
  filters.sync(state);
  for (const field of $$("[data-ask] input")) field.value = state.text;
  $("#whole").disabled = !state.crop;
  if ((page.query?.q ?? "") !== state.q) {
    results.forget();
    const found = await loadQuery(state.q);
    if (page.state.q !== state.q) return;
    if (!found) return showStart({ kind: "lost" });
  }
  title();
  frame.set(state.crop);
  try {
    sessionStorage.setItem("serupa:last", page.address);
  } catch {
    // then a product's way back leads to the first page
  }
  if (entry) return results.restore(entry);
  return results.search(state.k, { upTo });
}

async function loadQuery(q) {
  const hash = uploadOf(q);
  if (!q) {
    page.query = null;
    return true;
  }
  if (hash === null) {
    page.query = { q };
    hideDots(frame);
    showPhoto(api.photo(q, 960));
    api.item(q).then((item) => page.query?.q === q && ((page.query.name = nameOf(item)), title())).catch(() => {});
    return true;
  }
  const photo = await kept(hash);
  if (!photo) return false;
  page.query = { q, photo };
  showPhoto(URL.createObjectURL(photo.blob), photo);
  showDots(frame, photo.blob, (crop) => go({ crop }, { replace: true }));
  return true;
}

/** The page and its window are called by what is shown. */
function title() {
  const { state, query } = page;
  const values = [...state.where.values()].flatMap((condition) => condition.values ?? []).map((one) => lastOf(plain(one)));
  const seen = query && (query.name ? t("like_item", { name: query.name }) : t("like_photo"));
  const asked = state.text && t("quoted", { text: state.text });
  const name = [seen, asked].filter(Boolean).join(", ") || values.join(", ") || t("results");
  $("#results-title").textContent = name;
  document.title = `${name} – ${t("site")}`;
}

function showPhoto(source, { width = 0, height = 0, name = "" } = {}) {
  if (page.objectUrl) URL.revokeObjectURL(page.objectUrl);
  page.objectUrl = source.startsWith("blob:") ? source : null;
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
  document.title = `${t("title_search")} – ${t("site")}`;
  if (problem) showState(startNotice, problem);
  else if (about?.items === 0) showState(startNotice, { kind: "empty" });
  else clear(startNotice);
  showRecent();
}

addEventListener("popstate", () => {
  results.remember(page.address);
  page.state = read();
  page.address = write(page.state);
  run({ entry: recall(page.address) });
});
for (const leaving of ["pagehide", "serupa:leaving"]) {
  addEventListener(leaving, () => asks(page.state) && results.remember(page.address));
}

/* Photos coming in */

async function take(file, several = 1) {
  if (!file) return;
  const turn = ++page.taking;
  results.remember(page.address);
  const opening = setTimeout(() => {
    clear(startNotice);
    main.classList.add("opening");
    main.classList.remove("no-photo");
    view("results");
    results.opening(page.state.k);
  }, PATIENCE);
  const opened = () => {
    clearTimeout(opening);
    main.classList.remove("opening");
  };
  try {
    const photo = await prepare(file);
    if (turn !== page.taking) return;
    await keep(photo);
    opened();
    clear(startNotice);
    go({ q: `upload:${photo.hash}`, crop: null, where: new Map() });
    if (several > 1) showStrip(stripNotice, { kind: "first_of_several", file: file.name });
  } catch (error) {
    if (turn !== page.taking) return;
    opened();
    refuse(asProblem(error));
  }
}

/** What cannot be searched with leaves everything as it was, and says why. */
function refuse(problem) {
  if (!asks(page.state)) {
    view("start");
    return showState(startNotice, problem);
  }
  results.closed();
  main.classList.toggle("no-photo", !page.state.q);
  return showStrip(stripNotice, problem);
}

/** What was dropped or pasted: a photo, or the address of one. Photos on other sites are not fetched: no request leaves the shop. */
function bring(data) {
  const photos = own ? [] : [...(data?.files ?? [])];
  if (photos.length) return take(photos.find(({ type }) => type.startsWith("image/")) ?? photos[0], photos.length);
  const text = (data?.getData("text/uri-list") || data?.getData("text/plain") || "").trim().split("\n")[0];
  if (!URL.canParse(text)) return null;
  const link = new URL(text);
  const item = /^\/(?:item|api\/v1\/items)\/([^/]+)(?:\/image)?$/.exec(link.pathname);
  if (link.origin === location.origin && item) return go({ q: decodeURIComponent(item[1]), crop: null, where: new Map() });
  if (link.protocol === "data:" || link.origin === location.origin) {
    return fetch(link).then((answer) => answer.blob()).then((blob) => take(new File([blob], "", { type: blob.type }))).catch(() => refuse(new Problem("elsewhere")));
  }
  return refuse(new Problem("elsewhere"));
}

for (const id of ["browse", "camera", "another", "with-photo"]) {
  $(`#${id}`).addEventListener("change", ({ target }) => {
    take(target.files[0]);
    target.value = ""; // so that the same file can be chosen again
  });
}
/* Words, alone or beside the photo */

function asked() {
  try {
    return JSON.parse(localStorage.getItem(ASKED)) ?? [];
  } catch {
    return [];
  }
}

function rememberAsked(texts) {
  try {
    localStorage.setItem(ASKED, JSON.stringify(texts.slice(0, REMEMBERED)));
  } catch {
    // then nothing is offered again
  }
  $("#asked").replaceChildren(...texts.map((text) => h("option", { value: text })));
}

for (const form of $$("[data-ask]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = $("input", form).value.trim();
    if (text) rememberAsked([text, ...asked().filter((one) => one !== text)]);
    if (text !== page.state.text) go({ text });
  });
}
rememberAsked(asked());

$("#drop").addEventListener("click", (event) => {
  if (!event.target.closest("form, label, input, button, a, .notice, :has([data-state=empty])")) $("#browse").click();
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

let inside = 0;
let own = false; // a result of this page: dragged onto the photo, it is searched with
addEventListener("dragstart", () => (own = true));
addEventListener("dragend", () => (own = false));
const welcome = (event) =>
  own ? event.target.closest?.("#query") : ["Files", "text/uri-list"].some((type) => event.dataTransfer?.types.includes(type));
addEventListener("dragenter", (event) => {
  if (own || !welcome(event)) return;
  inside += 1;
  document.body.classList.add("dragging");
});
addEventListener("dragleave", (event) => {
  if (own || !welcome(event)) return;
  inside = Math.max(0, inside - 1);
  if (inside === 0) document.body.classList.remove("dragging");
});
addEventListener("dragover", (event) => welcome(event) && event.preventDefault());
addEventListener("drop", (event) => {
  inside = 0;
  document.body.classList.remove("dragging");
  if (!welcome(event)) return;
  event.preventDefault();
  bring(event.dataTransfer);
});
addEventListener("paste", (event) => {
  if ($(":is(input, textarea):focus") && !event.clipboardData?.files.length) return;
  if (event.clipboardData?.files.length || URL.canParse(event.clipboardData?.getData("text/plain"))) event.preventDefault();
  bring(event.clipboardData);
});

/* The first page: what is there to try gives way to what was searched with lately */

async function showRecent() {
  const photos = (await recent()).slice(0, RECENT);
  const place = $("#samples"); // not there while a large catalogue is first counted
  if (!place || photos.length === 0) return;
  $("h2", place).replaceChildren(t("recent"), " ",
    h("button", { type: "button", class: "link", onclick: () => forgetRecent() }, t("forget_recent")));
  $("ul", place).replaceChildren(...photos.map((photo, n) => {
    const q = `upload:${photo.hash}`;
    const source = URL.createObjectURL(photo.blob);
    return h("li", {}, h("a", { href: write({ ...read(""), q }), "aria-label": t("recent_n", { n: n + 1 }) },
      h("span", { class: "picture" }, h("img", { src: source, alt: "", width: "4", height: "5", onload: () => URL.revokeObjectURL(source) }))));
  }));
}

async function forgetRecent() {
  const [back, texts] = [await forget(await recent()), asked()];
  rememberAsked([]);
  const place = $("#samples");
  const [heading, list] = [$("h2", place), $("ul", place)];
  heading.replaceChildren();
  list.replaceChildren();
  main.focus({ preventScroll: true });
  offerUndo(t("recent_forgotten"), async () => (await back(), rememberAsked(texts), showRecent()));
}

for (const cost of $$("#start [data-offer]")) cost.replaceChildren(...costOf(JSON.parse(cost.dataset.offer)).filter(Boolean));

/** A tile of the first page changes the state of this page, instead of loading it anew. */
$("#start").addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='/?']");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go(read(new URL(link.href).search));
});

const catalogue = about ?? api.info();
Promise.resolve(catalogue).then((info) => {
  setLargest(info.limits?.body_bytes);
  main.classList.toggle("no-why", info.explains === false);
  filters.prepare(info);
}).catch(() => {}); // without filters the search itself still works, or says what is wrong

/* On a phone the photo gives way to a small one beside the filters */
new IntersectionObserver(([{ isIntersecting }]) => main.classList.toggle("scrolled", !isIntersecting)).observe($(".stage"));

history.scrollRestoration = "manual";
const entry = recall(page.address);
if (arrival === "back_forward" && entry) {
  run({ entry });
} else {
  const seen = arrival === "reload" && entry ? entry : null;
  run({ upTo: seen?.answer.hits.length }).then(() => seen && scrollTo({ top: seen.top, behavior: "instant" }));
}
