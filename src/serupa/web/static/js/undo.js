/** What was just taken away can be had back for a while: a line at the foot of the page, with the way back. */

import { h } from "./dom.js";
import { t } from "./texts.js";

const LASTS = 10_000; // ms
let timer = 0;

/** Say what was done; `undo` does the opposite. The line before it, if there is one, gives way. */
export function offerUndo(text, undo) {
  clearTimeout(timer);
  document.querySelector(".undo")?.remove();
  const away = () => line.remove();
  const line = h("div", { class: "undo", role: "status" },
    h("span", {}, text),
    h("button", { type: "button", class: "button", onclick: () => (away(), undo()) }, t("undo")));
  document.body.append(line);
  const begin = () => (timer = setTimeout(away, LASTS));
  // who is about to press it is given the time
  for (const stays of ["pointerenter", "focusin"]) line.addEventListener(stays, () => clearTimeout(timer));
  for (const goes of ["pointerleave", "focusout"]) line.addEventListener(goes, begin);
  begin();
}
