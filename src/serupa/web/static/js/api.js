/** The REST API, and what can go wrong with it as kinds that the page has a state for. */

export class Problem extends Error {
  /** kind: gone, busy, large, unreadable, missing, refused, fault, not_photo, empty_file or lost. */
  constructor(kind, details = {}) {
    super(details.detail || kind);
    this.kind = kind;
    Object.assign(this, details);
  }
}

const ROOT = "/api/v1";

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("gone", { detail: error.message });
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw new Problem(kindOf(response.status, said.code ?? "", Boolean(options.body)), {
    status: response.status,
    detail: typeof said.detail === "string" ? said.detail : "",
    code: said.code,
    retryAfter: Number(response.headers.get("Retry-After")) || 3,
  });
}

function kindOf(status, code, sent) {
  if (status === 413) return "large";
  if (status === 429 || status === 503) return "busy";
  if (status === 404) return "missing";
  if (status === 415 || (sent && /image|photo/i.test(code))) return "unreadable";
  if (status === 502 || status === 504) return "gone";
  return status >= 500 ? "fault" : "refused";
}

async function json(path, options) {
  const response = await ask(path, options);
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("gone", { detail: error.message });
  }
}

export const itemPath = (id) => `${ROOT}/items/${encodeURIComponent(id)}`;
export const pagePath = (id) => `/item/${encodeURIComponent(id)}`;

/** The address of an item's photo, no longer than `size` pixels on its long side. */
export const photoPath = (item, size) => `${item.image}${item.image.includes("?") ? "&" : "?"}size=${size}`;

/** Names for the size of a picture in the grid: the browser picks by the screen's density. */
export function sources(item) {
  return [320, 480, 720].map((size) => `${photoPath(item, size)} ${Math.round(size * 0.8)}w`).join(", ");
}

function listed(choices) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(choices)) {
    if (Array.isArray(value)) value.forEach((one) => query.append(name, one));
    else if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  return query;
}

function form(fields) {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (Array.isArray(value)) value.forEach((one) => data.append(name, one));
    else if (value !== null && value !== undefined && value !== "") data.append(name, value);
  }
  return data;
}

/** choices: {k, metric, by, where: [text], offset, crop}. */
export const search = (photo, choices, signal) =>
  json(`${ROOT}/search`, { method: "POST", body: form({ photo, ...choices }), signal });
export const similar = (id, choices, signal) => json(`${itemPath(id)}/similar?${listed(choices)}`, { signal });
export const explain = (fields, signal) => json(`${ROOT}/explain`, { method: "POST", body: form(fields), signal });
/** fields: {taste, k, offset, diversity, where}. */
export const recommend = (fields, signal) => json(`${ROOT}/recommend`, { method: "POST", body: form(fields), signal });
export const garment = (photo, signal) => json(`${ROOT}/garment`, { method: "POST", body: form({ photo }), signal });
export const own = (fields, signal) => json(`${ROOT}/own`, { method: "POST", body: form(fields), signal });
export const outfits = (fields, signal) => json(`${ROOT}/outfits`, { method: "POST", body: form(fields), signal });
export const item = (id) => json(itemPath(id));
export const items = (choices) => json(`${ROOT}/items?${listed(choices)}`);
export const facets = (choices = {}) => json(`${ROOT}/facets?${listed(choices)}`);
export const info = () => json(`${ROOT}/info`);
export const photoOf = async (stored, size, signal) => (await ask(photoPath(stored, size), { signal })).blob();
