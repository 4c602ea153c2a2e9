/** The page of those who run the search; the API key stays in the tab, and goes nowhere but to this server. */

import "./page.js";
import { api } from "./api.js";
import { Client } from "./client.js";
import { $, h } from "./dom.js";
import { bytes, fieldName, has, language, nameOf, number, t } from "./texts.js";

const STORE = "serupa:key";
const NAMES = { precision: "admin_precision", recall: "admin_recall", map: "admin_map" };
const EVERY = 700; // ms between two looks at a job

let client = null;
let about = null;

const percent = (share) => new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 1 }).format(share);
const score = (value) => new Intl.NumberFormat(language, { minimumFractionDigits: 3, maximumFractionDigits: 3 }).format(value);
const day = (when) => new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(when));
const hex = (data) => [...new Uint8Array(data)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const say = (text) => h("p", {}, text);
const code = (text) => h("pre", {}, h("code", {}, text));

/** rows: lists of cells, the first of each its head. */
function table(caption, heads, rows, kind = "") {
  return h("div", { class: `table ${kind}`, role: "region", "aria-label": caption, tabindex: "0" }, h("table", {},
    h("caption", {}, caption),
    h("thead", {}, h("tr", {}, heads.map((head) => (head ? h("th", { scope: "col" }, head) : h("td"))))),
    h("tbody", {}, rows.map(([first, ...cells]) => h("tr", {}, h("th", { scope: "row" }, first), cells.map((cell) => h("td", {}, cell)))))));
}

function failed(problem) {
  const text = problem.detail ? t("admin_failed", { detail: problem.detail }) : t(has(`${problem.kind}_title`) ? `${problem.kind}_title` : "fault_title");
  $("#notice").replaceChildren(say(text));
}

/** Do something that may fail; what goes wrong is said on top. */
const trying = (work) => async (event) => {
  event?.preventDefault?.();
  $("#notice").replaceChildren();
  try {
    await work(event);
  } catch (problem) {
    failed(problem);
    $("#notice").scrollIntoView({ block: "center" });
  }
};

/* The key */

async function open(key) {
  client = new Client({ key });
  $("#notice").replaceChildren();
  try {
    about = await client.request("/admin");
  } catch (problem) {
    $("#sign-in").hidden = false;
    if (problem.status === 401 || problem.status === 403) $("#notice").replaceChildren(say(t("admin_wrong")));
    else failed(problem);
    return;
  }
  sessionStorage.setItem(STORE, key);
  $("#sign-in").hidden = true;
  $("#inside").hidden = false;
  show();
  if (about.job?.runs) watch();
  else insights();
  servers().catch(failed);
}

$("#sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  open(new FormData(event.target).get("key"));
});
$("#forget").addEventListener("click", () => {
  sessionStorage.removeItem(STORE);
  location.reload();
});

/* What is indexed */

function show() {
  const facts = [
    ["admin_items", number(about.items)], ["admin_products", number(about.products)],
    ["admin_size", about.size_bytes === null ? null : bytes(about.size_bytes)], ["admin_encoder", about.encoder],
    ["admin_created", day(about.created)], ["admin_fields", Object.keys(about.fields).map(fieldName).join(", ")],
  ];
  $("#about").replaceChildren(...facts.filter(([, value]) => value).map(([name, value]) =>
    h("div", {}, h("dt", {}, t(name)), h("dd", {}, value))));
  $("#imported").replaceChildren(...importOf(about.imported));
  $("#measured").replaceChildren(...(about.evaluation ? measuredOf(about.evaluation) : [say(t("admin_not_measured"))]));
  $("#tuned").replaceChildren(...tunedOf(about.tuning));
  $("#untune").hidden = !about.tuning;
  $("#tune-clicks").hidden = !about.events_days;
  $("#back-up").hidden = !about.backs_up;
  $("#backed-up").replaceChildren(...(about.backs_up ? [] : [say(t("admin_backup_off")), code("serupa serve -c DIR --backups DIR")]));
  $("#who").textContent = t(about.read_key ? "admin_keys_closed" : "admin_keys_open");
  const labels = ["product_id", ...Object.keys(about.fields).filter((name) => about.fields[name] === "text")];
  for (const id of ["evaluate-label", "tune-label"]) {
    const chosen = $(`#${id}`).value;
    $(`#${id}`).replaceChildren(...labels.map((name) => h("option", { value: name, selected: name === chosen }, fieldName(name))));
  }
}

/** Where a catalogue on a server lies, and what is not as it should be. */
async function servers() {
  const { server } = about.size_bytes === null ? await client.request("/status") : { server: null };
  if (!server) return;
  const copies = ({ replicas }) => replicas.map(({ node, state, points }) => `${node}: ${state}${points === null ? "" : `, ${number(points)}`}`).join(" · ");
  $("#servers").replaceChildren(
    server.deviations.length ? h("ul", { class: "deviations" }, server.deviations.map((one) => h("li", {}, one))) : say(t("admin_well")),
    table(t("admin_shards"), [t("admin_shard"), t("admin_copies")], server.placement.map((shard) => [number(shard.shard), copies(shard)]), "texts"));
}

function importOf(report) {
  if (!report) return [say(t("admin_import_none"))];
  const counts = Object.fromEntries(["added", "updated", "unchanged", "failed"].map((name) => [name, number(report[name])]));
  const more = report.failed - report.failures.length;
  return [
    say(t("admin_imported", { ...counts, source: report.source, when: day(report.when) })),
    report.gone > 0 && say(t("admin_gone", { count: number(report.gone) })),
    ...report.notes.map(say),
    report.failed > 0 && table(t("admin_failure"), [t("admin_file"), t("admin_reason")], report.failures.map(({ id, reason }) => [id || "–", reason]), "texts"),
    more > 0 && say(t("admin_more_failures", { count: number(more) })),
  ].filter(Boolean);
}

/* Add and remove */

const find = trying(async () => {
  const id = $("#find input").value.trim();
  const pages = await Promise.all(["id", "product_id"].map((field) => client.items({ where: [`${field}=${id}`], limit: 100 })));
  const found = [...new Map(pages.flatMap(({ items }) => items).map((item) => [item.id, item])).values()];
  $("#changed").textContent = found.length ? "" : t("admin_nothing");
  $("#found-items").replaceChildren(...found.map(itemOf));
});

function itemOf(item) {
  const name = nameOf(item);
  const button = h("button", { type: "button", class: "button", "aria-label": t("admin_remove_of", { name: item.id }) }, t("admin_remove"));
  const photo = h("img", { alt: "", width: "4", height: "5" });
  const entry = h("li", {}, h("span", { class: "picture" }, photo), h("strong", {}, name), h("span", { class: "soft" }, item.id), button);
  client.show(photo, item, 320).catch(() => {});
  button.addEventListener("click", trying(async () => {
    if (!button.dataset.sure) { // the second click is the one that counts
      button.dataset.sure = "yes";
      button.textContent = t("admin_remove_sure");
      return;
    }
    await client.request(`/items/${encodeURIComponent(item.id)}`, { method: "DELETE" });
    entry.remove();
    $("#changed").textContent = t("admin_removed", { name: item.id });
    await refresh();
  }));
  return entry;
}

$("#find").addEventListener("submit", find);
$("#add").addEventListener("submit", trying(async ({ target }) => {
  const { photo, id, product_id, price, ...words } = Object.fromEntries(new FormData(target));
  const known = Object.entries(words).filter(([, value]) => value);
  const body = new FormData();
  const attributes = { ...Object.fromEntries(known), ...(price ? { price: Number(price) } : {}) };
  for (const [name, value] of Object.entries({ photo, id, product_id, attributes: JSON.stringify(attributes) })) if (value) body.set(name, value);
  await client.request("/items", { method: "POST", body });
  target.reset();
  $("#changed").textContent = t("admin_added", { name: id });
  await refresh();
}));

async function refresh() {
  about = await client.request("/admin");
  show();
}

/* Measuring and learning: a job at a time */

$("#evaluate").addEventListener("submit", trying(() => start("/admin/evaluate", { label: $("#evaluate-label").value })));
$("#tune").addEventListener("submit", trying(() => start("/admin/tune", { label: $("#tune-label").value, clicks: $("#tune-clicks input").checked })));
$("#back-up").addEventListener("click", trying(() => start("/admin/backup")));
$("#untune").addEventListener("click", trying(() => start("/admin/untune")));

async function start(path, body) {
  await client.request(path, { method: "POST", body });
  await watch();
}

async function watch() {
  const bar = $("#job progress");
  const buttons = ["#evaluate button", "#tune button", "#untune", "#back-up"].map((one) => $(one));
  let job;
  for (const button of buttons) button.disabled = true;
  $("#job").hidden = false;
  try {
    for (;;) {
      job = await client.request("/admin/job");
      if (!job.runs) break;
      $("#job span").textContent = t("admin_running", { step: job.step || job.name });
      if (job.total > 1) Object.assign(bar, { max: job.total, value: job.done });
      else bar.removeAttribute("value");
      await new Promise((done) => setTimeout(done, EVERY));
    }
  } finally {
    for (const button of buttons) button.disabled = false;
    $("#job").hidden = true;
  }
  await refresh();
  if (job.problem) failed({ detail: job.problem });
  else if (job.name === "tune") $("#tuned").replaceChildren(...learnedOf(job.result));
  else if (job.name === "backup") $("#backed-up").replaceChildren(say(t("admin_backed_up", { name: job.result.name, size: bytes(job.result.size_bytes) })));
  else if (job.name === "untune") $("#tuned").replaceChildren(say(t("admin_untuned")));
  insights();
}

function measuredOf({ label, queries, when, metrics, best }) {
  const metric = best.metric in metrics ? best.metric : Object.keys(metrics)[0];
  const { ci95 } = metrics[metric];
  const of100 = (share) => number(Math.round(100 * share));
  const [low, high] = ci95.precision[1] ?? [];
  const first = metrics[metric].precision[1];
  const cell = (value, interval) => [score(value), interval && h("span", { class: "interval" }, `${score(interval[0])} – ${score(interval[1])}`)];
  const rows = ["precision", "recall"].flatMap((measure) => Object.keys(metrics[metric][measure]).map((k) =>
    [t(NAMES[measure], { k }), ...Object.values(metrics).map((one) => cell(one[measure][k], one.ci95[measure][k]))]));
  rows.push([t("admin_map"), ...Object.values(metrics).map((one) => cell(one.map, one.ci95.map))]);
  return [
    first === undefined ? null : h("p", { class: "big" }, t("admin_measured", { count: of100(first), low: of100(low), high: of100(high) })),
    h("p", { class: "soft" }, t("admin_measured_of", { queries: number(queries), label: fieldName(label), when: day(when) })),
    about.tuning && h("p", { class: "soft" }, t("admin_measured_tuned")),
    table(t("admin_table"), ["", ...Object.keys(metrics).map((name) => t(`metric_${name}`))], rows),
    h("p", { class: "soft" }, t("admin_interval")),
  ].filter(Boolean);
}

function learnedOf({ found, gains, over, clicks_help }) {
  const asked = Object.keys(over).length > 0;
  return [
    say(t(found ? "admin_found" : "admin_not_found")), ...gainsOf(gains),
    asked && say(t(clicks_help ? "admin_clicks_help" : "admin_clicks_no_help")), ...gainsOf(over),
  ].filter(Boolean);
}

function tunedOf(tuning) {
  if (!tuning) return [say(t("admin_not_tuned"))];
  const said = say(t("admin_tuned", { when: day(tuning.when), photos: number(tuning.photos ?? 0) }));
  return tuning.gain ? [said, ...gainsOf({ [Object.keys(tuning.labels)[0]]: [tuning.gain] })] : [said];
}

const gainsOf = (gains) => Object.entries(gains).map(([label, rows]) =>
  table(fieldName(label), ["", t("admin_before"), t("admin_after"), t("admin_gain")], rows.map(({ measure, before, after, difference, ci95 }) => {
    const [name, k] = measure.split("@");
    const signed = (value) => (value > 0 ? "+" : "") + score(value);
    return [t(NAMES[name], { k }), score(before), score(after), [signed(difference), h("span", { class: "interval" }, `${signed(ci95[0])} – ${signed(ci95[1])}`)]];
  })));

/* What shoppers do */

async function insights() {
  const place = $("#told");
  $("#days").hidden = !about.events_days;
  if (!about.events_days) return place.replaceChildren(say(t("admin_insights_off")), code("serupa serve -c DIR --events-days 90"));
  try {
    const found = await client.request(`/admin/insights?days=${$("#days select").value}`);
    const asked = [...found.asked, ...found.not_found, ...found.not_first].filter(({ by }) => by === "item");
    const names = new Map(await Promise.all([...new Set(asked.map(({ what }) => what))].map(async (id) =>
      /** @type {[string, string]} */ ([id, await client.item(id).then(nameOf, () => id)]))));
    return place.replaceChildren(...(found.searches ? toldOf(found, names) : [say(t("admin_insights_none"))]));
  } catch (problem) {
    return failed(problem);
  }
}

/** names: of the items that were searched with. */
function toldOf({ searches, clicked, bought, ranks, filters, ...lists }, names) {
  const rows = (name, caption) => lists[name].length > 0 && table(caption, ["", t("admin_searches"), t("admin_followed"), t("admin_bought")],
    lists[name].map((one) => [whatOf(one, names), number(one.searches), number(one.clicked), number(one.bought)]));
  return [
    say(t("admin_insights_text", { searches: number(searches), clicked: percent(clicked / searches), bought: percent(bought / searches) })),
    rows("asked", t("admin_asked")), rows("not_found", t("admin_missing")), rows("not_first", t("admin_not_first")),
    filters.length > 0 && table(t("admin_filters"), ["", t("admin_searches")], filters.map(([name, count]) => [name, number(count)])),
    table(t("admin_ranks"), [t("admin_rank"), t("admin_shown"), t("admin_followed")],
      ranks.map(({ rank, shown, clicked: taken }) => [number(rank), number(shown), percent(taken / shown)])),
  ].filter(Boolean);
}

function whatOf({ by, what }, names) {
  if (by === "item") return names.get(what);
  return by === "kind" && has(`kind_${what}`) ? t(`kind_${what}`) : `“${what}”`;
}

$("#days select").addEventListener("change", insights);

/* Keys */

$("#new-key").addEventListener("click", trying(async () => {
  const key = hex(crypto.getRandomValues(new Uint8Array(24)));
  const hash = hex(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key)));
  $("#made").replaceChildren(say(t("admin_new_key_text")), code(key), say(t("admin_new_key_config")), code(`api_key_sha256 = "${hash}"`));
}));

/** Without a key there is nothing to ask for but whether there is one. */
async function ask() {
  const { writable } = await api.info();
  $("#sign-in").hidden = !writable;
  if (!writable) $("#notice").replaceChildren(say(t("admin_off")), code("SERUPA_API_KEY=… serupa serve -c DIR"));
}

const kept = sessionStorage.getItem(STORE);
if (kept) open(kept);
else ask().catch(failed);
