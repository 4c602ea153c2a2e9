/** The garments in a photo of a person, as dots on it: each searches for its garment alone. */

import { api } from "./api.js";
import { $$, h } from "./dom.js";
import { kindName } from "./pieces.js";
import { t } from "./texts.js";

/** Show dots on a photo, where several garments are found in it; `choose` is given the box of one. */
export async function showDots(frame, blob, choose) {
  const shown = frame.photo.getAttribute("src");
  hideDots(frame);
  try {
    if (!(await api.info()).regions) return;
    const { regions } = await api.regions(blob);
    if (regions.length < 2 || frame.photo.getAttribute("src") !== shown) return;
    frame.frame.append(...regions.map((region) => dot(region, choose)));
  } catch {
    // then a rectangle can be drawn by hand
  }
}

export function hideDots(frame) {
  for (const one of $$(".dot", frame.frame)) one.remove();
}

function dot({ box, kind, part }, choose) {
  const [x, y, width, height] = box;
  const name = t("search_garment", { kind: kind ? kindName(kind) : t(`part_${part}`) });
  const made = h("button", { type: "button", class: "dot", title: name, "aria-label": name, onclick: () => choose(box) });
  made.style.left = `${100 * (x + width / 2)}%`;
  made.style.top = `${100 * (y + height / 2)}%`;
  made.addEventListener("pointerdown", (event) => event.stopPropagation()); // no rectangle begins here
  return made;
}
