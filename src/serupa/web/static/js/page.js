/** What every page has: no broken pictures, the theme and the language, kept in cookies so that the next page starts right. */

import { $, $$ } from "./dom.js";
import { t } from "./texts.js";

/** How this page was come to: navigate, reload or back_forward. */
export const arrival = /** @type {any} */ (performance.getEntriesByType("navigation")[0])?.type ?? "navigate";

const YEAR = 31_536_000;
const root = document.documentElement;
const night = matchMedia("(prefers-color-scheme: dark)");

function keepChoice(name, value) {
  document.cookie = `${name}=${value}; path=/; max-age=${YEAR}; samesite=lax`;
}

const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : night.matches);

function labelTheme() {
  const name = t(isDark() ? "theme_light" : "theme_dark");
  $("#theme").setAttribute("aria-label", name);
  $("#theme").title = name;
}

$("#theme").addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  keepChoice("serupa_theme", root.dataset.theme);
  labelTheme();
});
night.addEventListener("change", labelTheme);

/** A photo that is gone leaves its box empty, not a broken picture. */
addEventListener("error", ({ target }) => target instanceof HTMLImageElement && target.classList.add("broken"), true);
for (const photo of document.images) {
  if (photo.complete && photo.naturalWidth === 0 && photo.getAttribute("src")) photo.classList.add("broken");
}

const cookie = (name) => document.cookie.split("; ").find((one) => one.startsWith(`${name}=`))?.split("=")[1];

/** Going back may bring a page as it once was: then it follows what was chosen since. */
function catchUp(event) {
  const theme = cookie("serupa_theme");
  if (theme) root.dataset.theme = theme;
  labelTheme();
  const language = cookie("serupa_lang");
  const wentBack = event?.persisted || arrival === "back_forward";
  const asked = new URLSearchParams(location.search).has("lang");
  if (wentBack && language && language !== root.lang && !asked) location.reload();
}
catchUp();
addEventListener("pageshow", (event) => event.persisted && catchUp(event));

for (const link of $$("[data-language]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    keepChoice("serupa_lang", link.dataset.language);
    const address = new URL(location.href);
    address.searchParams.delete("lang"); // else it would win over what was just chosen
    dispatchEvent(new Event("serupa:leaving"));
    if (address.href === location.href) location.reload();
    else location.replace(address);
  });
}
