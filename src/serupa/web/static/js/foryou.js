/** For you: products from the hearts that this browser keeps. */

import { arrival } from "./page.js";
import { api, pagePath } from "./api.js";
import { $, h } from "./dom.js";
import { Results, recall } from "./results.js";
import { forget, taste } from "./taste.js";
import { number, t, tn } from "./texts.js";
import { offerUndo } from "./undo.js";

const PAGE = 24;
const SHOWN = 12;
const DIVERSITY = 0.2;

const results = new Results($("#found"), {
  ask: (page, signal) => api.recommend({ ...page, taste: JSON.stringify(taste()), diversity: DIVERSITY }, signal),
  onRetry: () => show(),
  onEmpty: () => [{ kind: "none_plain" }, []],
  query: () => ({ fields: {}, photo: null }),
});

function liked() {
  const { likes } = taste();
  $("#lead").textContent = likes.length ? tn("liked", likes.length, { count: number(likes.length) }) : t("liked_none");
  $("#taste-actions").hidden = likes.length === 0;
  $("#found").classList.toggle("unmeasured", likes.length === 0);  // like what?
  $("#liked").replaceChildren(...likes.slice(-SHOWN).reverse().map(({ id }, n) =>
    h("li", {}, h("a", { href: pagePath(id), "aria-label": t("photo_n", { n: number(n + 1) }) },
      h("span", { class: "picture" }, h("img", {
        src: api.photo(id, 160), alt: "", width: "4", height: "5",
      }))))));
}

function show() {
  liked();
  return results.search(PAGE);
}

$("#forget").addEventListener("click", () => {
  const back = forget();
  show();
  $("#lead").focus();
  offerUndo(t("taste_forgotten"), () => (back(), show()));
});
$("#export").addEventListener("click", () => {
  const address = URL.createObjectURL(new Blob([JSON.stringify(taste(), null, 2)], { type: "application/json" }));
  h("a", { href: address, download: "serupa-taste.json" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
});
addEventListener("serupa:taste", liked);
addEventListener("storage", liked);
addEventListener("pageshow", (event) => event.persisted && show());

const here = () => location.pathname;
for (const leaving of ["pagehide", "serupa:leaving"]) addEventListener(leaving, () => results.remember(here()));
const entry = recall(here());
if (arrival === "back_forward" && entry) {
  liked();
  results.restore(entry);
} else show();
