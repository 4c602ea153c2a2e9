// @ts-check
/**
 * A client of Serupa's REST API, version 1: one module, no dependency. The page and `<serupa-search>` use it,
 * and so can any other page that the server allows (`cors_origins`):
 *
 *     import { Client } from "https://search.shop.example/static/js/client.js";
 *     const serupa = new Client({ server: "https://search.shop.example" });
 *     const { hits } = await serupa.search(file, { k: 12, by: "product" });
 */

/** @typedef {string | number | boolean | string[]} Attribute */
/**
 * @typedef {object} Offer what the shop asks; null is what the catalogue does not say
 * @property {string | null} url the item's page in the shop
 * @property {number | null} price what is to be paid
 * @property {number | null} list_price what was to be paid before, where that was more
 * @property {string | null} currency
 * @property {string | null} brand
 * @property {boolean | null} in_stock
 */
/** @typedef {{ id: string, product_id: string | null, name: string, image: string, attributes: Record<string, Attribute>, offer: Offer }} Item */
/** @typedef {Item & { photos: Item[] }} ItemDetail */
/** @typedef {Item & { rank: number, distance: number, similarity: number, because?: string | null, search?: string | null }} Hit */
/**
 * @typedef {object} Answer
 * @property {string} metric
 * @property {string} encoder
 * @property {Record<string, number | null>} timing_ms
 * @property {string | null} [kind] the kind of garment that the photo seems to show
 * @property {boolean | null} [close] whether the first hit looks alike; null: nobody knows
 * @property {Hit[]} hits in the order that was asked for
 * @property {number} offset
 * @property {boolean} more whether there are hits after these
 * @property {string | null} [search] what purchases are told with; null where the shop keeps no events
 */
/**
 * @typedef {object} Choices
 * @property {number} [k] how many hits, 100 at most
 * @property {number} [offset] how many of the nearest to pass over
 * @property {string} [metric] cosine, euclidean or manhattan, where the catalogue has it
 * @property {"item" | "product"} [by]
 * @property {string} [sort] the order of what is alike: a field such as "price", or "-price"
 * @property {string} [text] words, alone or beside the photo
 * @property {string[]} [where] filters, such as "color=Black|Blue" and "price=10..50"
 * @property {string | null} [crop] the part of the photo, "x,y,w,h" in fractions of its sides
 * @property {string} [kind] the kind of garment to prefer; "any" compares the look alone
 */
/** @typedef {{ name: string, kind: "text", values: { value: string | number | boolean, count: number }[], more: boolean }} TextFacet */
/** @typedef {{ name: string, kind: "number", min: number, max: number }} NumberFacet */
/** @typedef {{ fields: (TextFacet | NumberFacet)[] }} Facets */
/** @typedef {"gone" | "busy" | "large" | "unreadable" | "missing" | "refused" | "fault"} ProblemKind */
/** @typedef {{ detail?: string, status?: number, code?: string, retryAfter?: number, [more: string]: any }} ProblemDetails */

const ROOT = "/api/v1";

/** What went wrong: `kind` for programs, the message for people. `retryAfter` is in seconds. */
export class Problem extends Error {
  /**
   * @param {ProblemKind | string} kind
   * @param {ProblemDetails} details
   */
  constructor(kind, details = {}) {
    super(details.detail || kind);
    this.kind = kind;
    Object.assign(this, details);
  }
}

export class Client {
  #server;
  #key;

  /**
   * @param {object} [options]
   * @param {string} [options.server] its address; the page's own server unless given
   * @param {string} [options.key] the key, where the server asks for one
   */
  constructor({ server = "", key = "" } = {}) {
    this.#server = server.replace(/\/+$/, "");
    this.#key = key;
  }

  /**
   * What looks like a photo, has some words (`choices.text`), or both.
   * @param {Blob | null} photo
   * @param {Choices} [choices]
   * @param {AbortSignal} [signal]
   * @returns {Promise<Answer>}
   */
  async search(photo, choices = {}, signal) {
    return followable(await this.#send("/search", { photo, ...choices }, signal));
  }

  /**
   * What looks like an item.
   * @param {string} id
   * @param {Choices} [choices]
   * @param {AbortSignal} [signal]
   * @returns {Promise<Answer>}
   */
  async similar(id, choices = {}, signal) {
    return followable(await this.#json(`${itemPath(id)}/similar?${listed(choices)}`, { signal }));
  }

  /**
   * Products from likes and dislikes.
   * @param {{ taste?: string, diversity?: number } & Choices} fields
   * @param {AbortSignal} [signal]
   * @returns {Promise<Answer & { groups: string[][], unknown: string[] }>}
   */
  recommend(fields, signal) {
    return this.#send("/recommend", fields, signal);
  }

  /**
   * Which regions of two photos make them alike.
   * @param {{ photo?: Blob, from_id?: string, item_id: string, crop?: string | null, metric?: string }} fields
   * @param {AbortSignal} [signal]
   */
  explain(fields, signal) {
    return this.#send("/explain", fields, signal);
  }

  /**
   * The garments in a photo of a person, what shows most first; a box can be searched with as `crop`.
   * @param {Blob} photo
   * @param {AbortSignal} [signal]
   * @returns {Promise<{ regions: { part: string, kind: string | null, box: number[] }[] }>}
   */
  regions(photo, signal) {
    return this.#send("/regions", { photo }, signal);
  }

  /**
   * What a photo of one garment shows.
   * @param {Blob} photo
   * @param {AbortSignal} [signal]
   */
  garment(photo, signal) {
    return this.#send("/garment", { photo }, signal);
  }

  /**
   * Whether something is owned already.
   * @param {{ photo?: Blob, item_id?: string, wardrobe: string }} fields
   * @param {AbortSignal} [signal]
   */
  own(fields, signal) {
    return this.#send("/own", fields, signal);
  }

  /**
   * What goes with a piece.
   * @param {{ piece: string, wardrobe: string }} fields
   * @param {AbortSignal} [signal]
   */
  outfits(fields, signal) {
    return this.#send("/outfits", fields, signal);
  }

  /**
   * An item, with the other photos of its product.
   * @param {string} id
   * @returns {Promise<ItemDetail>}
   */
  item(id) {
    return this.#json(itemPath(id));
  }

  /**
   * Items that pass the filters, page by page: `after` is the `next` of the page before.
   * @param {{ where?: string[], limit?: number, after?: string }} [choices]
   * @returns {Promise<{ items: Item[], more: boolean, next: string | null }>}
   */
  items(choices = {}) {
    return this.#json(`/items?${listed(choices)}`);
  }

  /**
   * What there is to filter by.
   * @param {{ where?: string[], by?: "item" | "product", values?: number }} [choices]
   * @returns {Promise<Facets>}
   */
  facets(choices = {}) {
    return this.#json(`/facets?${listed(choices)}`);
  }

  /**
   * Tell that a result was followed, to its page or to the shop; nothing is sent where the shop keeps no events.
   * @param {Hit} hit
   * @param {"item" | "shop"} [to]
   */
  clicked({ search, id }, to = "item") {
    if (search) this.#tell("/events/click", { search, item: id, to });
  }

  /**
   * Tell that an item was bought, and of which search, where that is known; it needs the API key.
   * @param {string} item
   * @param {string | null} [search]
   */
  bought(item, search = null) {
    return this.#tell("/events/purchase", { item, search });
  }

  /**
   * Whatever has no method here: the JSON at a path below /api/v1, null where there is none.
   * @param {string} path
   * @param {{ method?: string, body?: FormData | object, signal?: AbortSignal }} [options]
   * @returns {Promise<any>}
   */
  async request(path, { body, ...options } = {}) {
    const sent = body === undefined || body instanceof FormData ? body : JSON.stringify(body);
    const response = await this.#ask(`${this.#server}${ROOT}${path}`, { body: /** @type {any} */ (sent), ...options });
    return response.status === 204 ? null : response.json();
  }

  /** What the catalogue is and holds, and what the server takes. */
  info() {
    return this.#json("/info");
  }

  /**
   * The address of an item's photo, no longer than `size` pixels on its long side.
   * @param {string | Item} item itself, or its id
   * @param {number} size
   */
  photo(item, size) {
    const path = typeof item === "string" ? `${ROOT}${itemPath(item)}/image` : item.image;
    return `${this.#server}${path}?size=${size}`;
  }

  /**
   * An item's photo itself.
   * @param {string | Item} item
   * @param {number} size
   * @param {AbortSignal} [signal]
   */
  async photoBlob(item, size, signal) {
    return (await this.#ask(this.photo(item, size), { signal })).blob();
  }

  /**
   * Show an item's photo in an image: from its address, or where a key is needed, which no image sends, from memory (`img-src blob:`).
   * @param {HTMLImageElement} image
   * @param {string | Item} item
   * @param {number} size
   */
  async show(image, item, size) {
    if (!this.#key) {
      image.src = this.photo(item, size);
      return;
    }
    const source = URL.createObjectURL(await this.photoBlob(item, size));
    image.addEventListener("load", () => URL.revokeObjectURL(source), { once: true });
    image.src = source;
  }

  /**
   * What is told arrives after the page has been left, too, and is nobody's concern where it does not.
   * @param {string} path
   * @param {object} event
   */
  #tell(path, event) {
    const body = JSON.stringify(event);
    const sent = this.#ask(`${this.#server}${ROOT}${path}`, { method: "POST", body, keepalive: true });
    return sent.then(() => true, () => false);
  }

  /**
   * @param {string} path
   * @param {object} fields
   * @param {AbortSignal} [signal]
   */
  #send(path, fields, signal) {
    return this.#json(path, { method: "POST", body: listed(fields, new FormData()), signal });
  }

  /**
   * @param {string} path
   * @param {RequestInit} [options]
   * @returns {Promise<any>}
   */
  async #json(path, options) {
    const response = await this.#ask(`${this.#server}${ROOT}${path}`, options);
    try {
      return await response.json();
    } catch (error) {
      throw lost(error);
    }
  }

  /**
   * @param {string} address
   * @param {RequestInit} [options]
   */
  async #ask(address, options = {}) {
    /** @type {Record<string, string>} */
    const headers = {};
    if (this.#key) headers.Authorization = `Bearer ${this.#key}`;
    if (typeof options.body === "string") headers["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(address, { credentials: "same-origin", headers, ...options });
    } catch (error) {
      throw lost(error);
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
}

/**
 * An amount of money as a language writes it: yen without decimals, and none where they are nought.
 * @param {number} amount
 * @param {string | null} currency
 * @param {string} [language]
 */
export function priceOf(amount, currency, language) {
  const whole = Number.isInteger(amount) ? { minimumFractionDigits: 0 } : {};
  try {
    if (currency) return new Intl.NumberFormat(language, { style: "currency", currency, ...whole }).format(amount);
  } catch {
    // not one of the currency codes there are: the number alone
  }
  return new Intl.NumberFormat(language, { minimumFractionDigits: 2, maximumFractionDigits: 2, ...whole }).format(amount);
}

/** Each hit remembers its search, however results are put together. @param {Answer} answer */
const followable = ({ hits, ...answer }) => ({ ...answer, hits: hits.map((hit) => ({ ...hit, search: answer.search })) });

/** @param {string} id */
const itemPath = (id) => `/items/${encodeURIComponent(id)}`;

/** What was called off stays what it is; all else is a server that does not answer. @param {any} error */
const lost = (error) => (error.name === "AbortError" ? error : new Problem("gone", { detail: error.message }));

/**
 * @param {number} status
 * @param {string} code
 * @param {boolean} sent
 * @returns {ProblemKind}
 */
function kindOf(status, code, sent) {
  if (status === 413) return "large";
  if (status === 429 || status === 503) return "busy";
  if (status === 404) return "missing";
  if (status === 415 || (sent && /image|photo/i.test(code))) return "unreadable";
  if (status === 502 || status === 504) return "gone";
  return status >= 500 ? "fault" : "refused";
}

/**
 * Fields as the API takes them: a list is the same name several times, what is not given is left out.
 * @template {FormData | URLSearchParams} T
 * @param {object} fields
 * @param {T} [into]
 * @returns {T}
 */
function listed(fields, into = /** @type {T} */ (new URLSearchParams())) {
  for (const [name, value] of Object.entries(fields)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") into.append(name, one);
    }
  }
  return into;
}
