/** Why alike: the API's cells drawn as heat over a photo. */

import { h, icon } from "./dom.js";
import { decimal, t } from "./texts.js";

const HEAT = [255, 74, 28];
const SHARPER = 8; // the cells are few: drawn a few times larger first, so that they blend evenly

/**
 * How strongly to colour a cell, 0 to 1, on one scale for both photos.
 *
 * A similarity's cells add to being alike; a distance's set apart, so the smallest is the strongest.
 */
function scaleOf({ what, query, item }) {
  const cells = [...query.cells.flat(), ...item.cells.flat()];
  const high = Math.max(...cells);
  if (what === "similarity") return (value) => Math.max(0, value) / Math.max(high, 1e-9);
  const low = Math.min(...cells);
  return (value) => (high - value) / Math.max(high - low, 1e-9);
}

/**
 * Draw a map on a canvas as large as the photo's own shape.
 *
 * map: {rows, columns, cells, box}: box is the part of the upright photo that the encoder saw, which may reach beyond it.
 */
function draw(canvas, map, scale, width, height) {
  const long = 480 / Math.max(width, height);
  canvas.width = Math.round(width * long);
  canvas.height = Math.round(height * long);
  const small = new OffscreenCanvas(map.columns, map.rows);
  const dots = new ImageData(map.columns, map.rows);
  map.cells.flat().forEach((value, i) => {
    dots.data.set([...HEAT, Math.round(230 * scale(value) ** 1.2)], 4 * i);
  });
  small.getContext("2d").putImageData(dots, 0, 0);
  const smooth = new OffscreenCanvas(map.columns * SHARPER, map.rows * SHARPER);
  const pen = smooth.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(small, 0, 0, smooth.width, smooth.height);
  const [left, top, wide, tall] = map.box;
  const sheet = canvas.getContext("2d");
  sheet.imageSmoothingQuality = "high";
  sheet.drawImage(smooth, left * canvas.width, top * canvas.height, wide * canvas.width, tall * canvas.height);
  canvas.hidden = false;
}

/** Draw both maps, each on any number of canvases with the photos they lie over. */
export function drawMaps(explained, querySpots, itemSpots) {
  const scale = scaleOf(explained);
  for (const [spots, map] of [[querySpots, explained.query], [itemSpots, explained.item]]) {
    for (const { canvas, photo } of spots) {
      const paint = () => draw(canvas, map, scale, photo.naturalWidth || 4, photo.naturalHeight || 5);
      if (photo.complete && photo.naturalWidth) paint();
      else photo.addEventListener("load", paint, { once: true });
    }
  }
}

export function legendOf({ what, similarity, distance }) {
  const adds = what === "similarity";
  const total = decimal(adds ? similarity : distance);
  return [
    h("span", {}, t(adds ? "why_less" : "why_apart")),
    h("span", { class: "ramp" }),
    h("span", {}, t(adds ? "why_more" : "why_alike")),
    h("p", {}, t(adds ? "why_sum" : "why_distance", { total })),
  ];
}

export const toggleOf = (name) =>
  h("button", { type: "button", class: "why", "aria-pressed": "false", "aria-label": t("why_of", { name }), title: t("why") },
    h("span", {}, icon("why"), h("em", { "aria-hidden": "true" }, t("why"))));
