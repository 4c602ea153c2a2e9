/** What a person likes: kept in this browser alone, sent with a request for recommendations, stored nowhere else. */

import { h, icon } from "./dom.js";
import { t } from "./texts.js";

const STORE = "serupa:taste";
const MOST = 1000;

/** {format, likes: [{id, at}], dislikes: [...]}: what the command line and the library read, too. */
export function taste() {
  try {
    const kept = JSON.parse(localStorage.getItem(STORE));
    if (Array.isArray(kept?.likes)) return { format: 1, dislikes: [], ...kept };
  } catch {
    // nothing is kept, or storage is off
  }
  return { format: 1, likes: [], dislikes: [] };
}

function keep(changed) {
  try {
    localStorage.setItem(STORE, JSON.stringify(changed));
  } catch {
    // no room or no storage: the heart is not kept
  }
  dispatchEvent(new Event("serupa:taste"));
}

export const likes = (id) => taste().likes.some((one) => one.id === id);

export function toggle(id) {
  const known = taste();
  const others = known.likes.filter((one) => one.id !== id);
  const liked = others.length === known.likes.length;
  if (liked) others.push({ id, at: new Date().toISOString() });
  keep({ ...known, likes: others.slice(-MOST) });
  return liked;
}

/** Forget everything; returns what brings it back. */
export function forget() {
  const before = taste();
  try {
    localStorage.removeItem(STORE);
  } catch {
    // there was nothing
  }
  dispatchEvent(new Event("serupa:taste"));
  return () => keep(before);
}

/** A heart for an item; `name` says which one to those who cannot see it. */
export function heart(id, name) {
  const button = h("button", {
    type: "button", class: "heart", "aria-pressed": String(likes(id)), "aria-label": t("like", { name }),
    onclick: () => button.setAttribute("aria-pressed", String(toggle(id))),
  }, h("span", {}, icon("heart")));
  return button;
}
