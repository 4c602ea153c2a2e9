/** What the page shows, as its address says it: the query, its rectangle, the choices and the filters. */

export const PAGE = 24;
export const SIZES = [12, 24, 48, 96];

const RANGE = /^(-?[\d.]*\d)?\.\.(-?[\d.]*\d)?$/;

/**
 * {q, text, crop: [x, y, w, h] | null, kind, metric, k, by, sort, where}; where maps a field to {values} or {low, high},
 * or to {text} for a condition that the page has no control for.
 */
export function read(address = location.search) {
  const query = new URLSearchParams(address);
  const where = new Map();
  for (const text of query.getAll("where")) {
    const [, field, value] = /^([^=<>!]+)=(?!=)(.*)$/s.exec(text) ?? [];
    const range = RANGE.exec(value ?? "");
    if (field === undefined) where.set(text, { text });
    else if (range && value !== "..") where.set(field.trim(), { low: range[1] ?? "", high: range[2] ?? "" });
    else if (value) where.set(field.trim(), { values: value.split("|") });
  }
  const crop = (query.get("crop") ?? "").split(",").map(Number);
  const k = Number(query.get("k"));
  const by = query.get("by");
  return {
    q: query.get("q") ?? "",
    text: (query.get("text") ?? "").trim(),
    crop: crop.length === 4 && crop.every((n) => n >= 0 && n <= 1) && crop[2] > 0 && crop[3] > 0 ? crop : null,
    kind: query.get("kind") ?? "",
    metric: query.get("metric") ?? "",
    k: SIZES.includes(k) ? k : PAGE,
    by: by === "item" || by === "product" ? by : "product",
    sort: query.get("sort") ?? "",
    where,
  };
}

/** The address of a state; what is as always is left out. */
export function write(state) {
  const query = new URLSearchParams();
  for (const name of ["q", "text"]) if (state[name]) query.set(name, state[name]);
  if (state.crop) query.set("crop", cropText(state.crop));
  for (const name of ["kind", "metric", "sort"]) if (state[name]) query.set(name, state[name]);
  if (state.k !== PAGE) query.set("k", state.k);
  if (state.by !== "product") query.set("by", state.by);
  for (const text of conditions(state.where)) query.append("where", text);
  const text = query.toString().replaceAll("%2C", ",").replaceAll("%3A", ":").replaceAll("%2F", "/");
  return text ? `/?${text}` : "/";
}

export const cropText = (crop) => crop.map((n) => Number(n.toFixed(4))).join(",");

/** Whether there is anything to show results of. */
export const asks = (state) => Boolean(state.q || state.text || state.where.size);

/** The filters as the API takes them. */
export function conditions(where) {
  return [...where].map(([field, condition]) => {
    if (condition.text) return condition.text;
    if (condition.values) return `${field}=${condition.values.join("|")}`;
    return `${field}=${condition.low}..${condition.high}`;
  });
}

/** The hash of an uploaded photo, or null where the query is an item. */
export const uploadOf = (q) => (q.startsWith("upload:") ? q.slice(7) : null);
