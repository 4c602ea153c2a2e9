/** The page's own client of the REST API, and the addresses of what it shows. */

import { Client } from "./client.js";

export const api = new Client();

export const pagePath = (id) => `/item/${encodeURIComponent(id)}`;

/** Names for the size of a picture in the grid: the browser picks by the screen's density. */
export function sources(item) {
  return [320, 480, 640].map((size) => `${api.photo(item, size)} ${Math.round(size * 0.8)}w`).join(", ");
}
