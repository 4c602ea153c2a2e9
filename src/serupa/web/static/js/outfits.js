/** Outfits, and whether something is owned: how an answer of the API is shown. */

import { api, pagePath } from "./api.js";
import { h } from "./dom.js";
import { kindName } from "./pieces.js";
import { has, number, plain, t } from "./texts.js";

/** The outfits as elements; `owned` are the pieces of this browser, whose photos it has. */
export function outfitsOf(answer, owned) {
  if (answer.outfits.length === 0) return [h("p", {}, t("outfit_none"))];
  const known = new Map(owned.map((piece) => [piece.id, piece]));
  return answer.outfits.map((outfit, n) =>
    h("section", { class: "outfit", "aria-label": t("outfit_n", { n: number(n + 1) }) },
      h("ul", { class: "parts" }, outfit.parts.map((part) => partOf(part, known.get(part.id)))),
      h("ul", { class: "reasons" }, reasonsOf(outfit).map((text) => h("li", {}, text)))));
}

function partOf(part, piece) {
  const name = plain(part.name || kindName(piece?.category) || part.id);
  const photo = h("span", { class: "picture" }, part.owned ? photoOf(piece) : h("img", { src: api.photo(part, 320), alt: "", width: "4", height: "5" }));
  const words = [h("span", { class: "part-name" }, name), h("span", { class: "detail" }, t(part.owned ? "owned" : "from_shop"))];
  return h("li", {}, part.owned ? h("div", {}, photo, ...words) : h("a", { href: pagePath(part.id) }, photo, ...words));
}

/** A photo out of this browser's database, let go of when it is drawn. */
export function photoOf(piece) {
  if (!piece) return null;
  const source = URL.createObjectURL(piece.blob);
  return h("img", { src: source, alt: "", width: "4", height: "5", onload: () => URL.revokeObjectURL(source) });
}

/** Each reason once, with the colours that it is about, in words of the page's language. */
function reasonsOf(outfit) {
  const colors = new Map();
  for (const { code, colors: named } of outfit.reasons) {
    colors.set(code, new Set([...(colors.get(code) ?? []), ...named.map((name) => t(`color_${name}`))]));
  }
  return [...colors].filter(([code]) => has(`reason_${code}`))
    .map(([code, named]) => t(`reason_${code}`, { colors: [...named].join(", ") }));
}

/** Whether something is owned, as elements. */
export function ownedOf(answer, owned) {
  const [best] = answer.matches;
  const piece = answer.verdict === "new" ? null : owned.find(({ id }) => id === best?.id);
  const sure = best?.probability == null ? "" : t("sure", { percent: number(Math.floor(100 * best.probability)) });
  return [h("div", { class: "verdict", data: { verdict: answer.verdict } },
    piece && h("span", { class: "picture" }, photoOf(piece)),
    h("div", {},
      h("strong", {}, t(`own_${answer.verdict}`)),
      piece && h("span", { class: "detail" }, [kindName(piece.category), sure].filter(Boolean).join(" · "))))];
}
