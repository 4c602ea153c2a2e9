/** The wardrobe: what is owned, what goes with it, and whether something is owned already. */

import "./page.js";
import { api } from "./api.js";
import { $, $$, h, icon } from "./dom.js";
import { outfitsOf, ownedOf, photoOf } from "./outfits.js";
import { prepare } from "./photo.js";
import * as pieces from "./pieces.js";
import { asProblem } from "./results.js";
import { clear, showStrip } from "./states.js";
import { number, t, texts, tn } from "./texts.js";
import { offerUndo } from "./undo.js";

const main = $("#main");
const notice = $("#wardrobe-notice");
const said = $("#said");
const kinds = Object.keys(texts).filter((name) => name.startsWith("kind_")).map((name) => name.slice(5));
let owned = [];

async function show() {
  owned = await pieces.pieces();
  $("#wardrobe-lead").textContent = owned.length ? tn("pieces", owned.length, { count: number(owned.length) }) : t("wardrobe_none");
  $("#own-pick").hidden = !(await pieces.mayAsk(owned));
  $("#forget-wardrobe").hidden = owned.length === 0;
  $("#pieces").replaceChildren(...owned.map(pieceOf));
}

function pieceOf(piece) {
  const name = pieces.kindName(piece.category) || t("piece");
  const choices = [...new Set([piece.category, ...kinds])].filter(Boolean);
  const select = h("select", { "aria-label": t("category_of", { name }), onchange: () => correct(piece, select.value) },
    !piece.category && h("option", { value: "", selected: true }, t("category_unknown")),
    choices.map((one) => h("option", { value: one, selected: one === piece.category }, pieces.kindName(one))));
  const perhaps = !piece.category && piece.guess && h("p", { class: "perhaps" },
    h("span", {}, t("perhaps", { kind: pieces.kindName(piece.guess) })),
    h("button", { type: "button", class: "button", onclick: () => correct(piece, piece.guess) }, t("yes")));
  return h("li", { class: "piece", data: { piece: piece.id } },
    h("span", { class: "picture" }, photoOf(piece)),
    perhaps, select,
    h("span", { class: "detail" }, piece.colors.map((color) => t(`color_${color.name}`)).join(", ")),
    h("div", { class: "piece-actions" },
      h("button", { type: "button", class: "button", "aria-label": t("complete_of", { name }), disabled: !piece.category, onclick: () => complete(piece) }, t("complete")),
      h("button", { type: "button", class: "plain", "aria-label": t("remove_piece", { name }), onclick: () => drop([piece], t("piece_removed")) }, icon("close"))));
}

async function correct(piece, category) {
  await pieces.change({ ...piece, category });
  await show();
  $$("[data-piece]").find((one) => one.dataset.piece === piece.id)?.querySelector("select").focus();
}

/** Take pieces away; they can be had back. */
async function drop(gone, text) {
  await pieces.remove(...gone);
  clear(said);
  await show();
  $("#wardrobe-lead").focus();
  offerUndo(text, async () => (await pieces.change(...gone), show()));
}

/** Do something that takes a while; what goes wrong is said, and nothing else changes. */
async function busy(work) {
  clear(notice);
  said.replaceChildren(h("p", { class: "wait" }, t("working")));
  main.setAttribute("aria-busy", "true");
  main.classList.add("busy");
  try {
    await work();
  } catch (error) {
    if (error.name !== "AbortError") showStrip(notice, asProblem(error));
  } finally {
    said.querySelector(".wait")?.remove();
    main.removeAttribute("aria-busy");
    main.classList.remove("busy");
  }
}

const complete = (piece) =>
  busy(async () => {
    const answer = await api.outfits({ piece: piece.id, wardrobe: pieces.described(owned) });
    said.replaceChildren(h("h2", {}, t("outfits_with", { name: pieces.kindName(piece.category) })), ...outfitsOf(answer, owned));
    said.scrollIntoView({ block: "start" });
    said.focus({ preventScroll: true });
  });

for (const id of ["add-piece", "add-camera"]) {
  $(`#${id}`).addEventListener("change", ({ target }) => {
    const files = [...target.files];
    target.value = ""; // so that the same file can be chosen again
    busy(async () => {
      let problem = null; // one photo that cannot be read does not keep the others out
      for (const file of files) {
        try {
          await pieces.add(await prepare(file));
          await show();
        } catch (error) {
          problem = Object.assign(asProblem(error), { file: file.name });
        }
      }
      if (problem) throw problem;
    });
  });
}
$("#own-photo").addEventListener("change", ({ target }) => {
  const [file] = target.files;
  target.value = "";
  if (!file) return;
  busy(async () => {
    const { blob } = await prepare(file);
    try {
      said.replaceChildren(...ownedOf(await api.own({ photo: blob, wardrobe: pieces.described(owned) }), owned));
    } catch (error) {
      throw Object.assign(asProblem(error), { file: file.name });
    }
    said.focus();
  });
});
$("#forget-wardrobe").addEventListener("click", () => drop(owned, t("wardrobe_forgotten")));

show();
