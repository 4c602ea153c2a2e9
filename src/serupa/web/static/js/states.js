/** The states that are no results: each says what happened and offers what helps, where the results would be. */

import { h, icon } from "./dom.js";
import { bytes, t, tn } from "./texts.js";

const ICONS = {
  not_photo: "file", unreadable: "file", empty_file: "file", large: "large", gone: "gone", busy: "busy",
  fault: "gone", refused: "none", none: "none", none_plain: "none", lost: "photo", missing: "none", empty: "empty",
  elsewhere: "photo", no_storage: "file",
};

function words(problem) {
  const { kind } = problem;
  const name = problem.file || t("file");
  if (kind === "large" && !problem.size) return [t("large_title", { name }), t("large_text_unknown")];
  if (kind === "large") {
    const sizes = { size: bytes(problem.size), limit: bytes(problem.limit) };
    return [t("large_title", { name }), t("large_text", sizes)];
  }
  // too many requests are other people's; a server that is late has reasons of its own
  if (kind === "busy") return [t(problem.status === 503 ? "slow_title" : "busy_title"), t("later")];
  return [t(`${kind}_title`, { name }), t(`${kind}_text`)];
}

/** A state in place of results: actions are [label, function] or [label, address]. */
export function showState(place, problem, actions = []) {
  const [title, text] = words(problem);
  const state = h("div", { class: "state", data: { state: problem.kind } },
    icon(ICONS[problem.kind] ?? "none", "large"),
    h("h2", {}, title),
    text && h("p", {}, text),
    problem.kind === "empty" && h("pre", {}, h("code", {}, "serupa index PHOTOS -c DIR")),
    actions.length > 0 && h("div", { class: "actions" }, actions.map(([label, act]) =>
      typeof act === "string"
        ? h("a", { class: "button", href: act }, label)
        : h("button", { type: "button", class: "button", onclick: act }, label))),
  );
  place.replaceChildren(state);
  return state;
}

/** A state beside results that stay: what was just tried did not work. */
export function showStrip(place, problem) {
  const [title, text] = words(problem);
  place.replaceChildren(h("div", { class: "strip", data: { state: problem.kind } },
    icon(ICONS[problem.kind] ?? "none"),
    h("div", {}, h("strong", {}, title), h("span", {}, text)),
    h("button", { type: "button", class: "plain", "aria-label": t("dismiss"), onclick: () => clear(place) }, icon("close")),
  ));
}

export function clear(place) {
  place.replaceChildren();
}

/** The busy state counts down and tries again by itself; returns a function that stops it. */
export function showBusy(place, problem, retry) {
  let left = Math.max(1, Math.min(60, Math.ceil(problem.retryAfter)));
  const text = showState(place, problem, [[t("retry_now"), () => again()]]).querySelector("p");
  text.setAttribute("aria-live", "off"); // a count would be read aloud every second
  const show = () => (text.textContent = tn("busy_text", left, { seconds: left }));
  const timer = setInterval(() => {
    left -= 1;
    if (left > 0) show();
    else again();
  }, 1000);
  const stop = () => clearInterval(timer);
  const again = () => {
    stop();
    retry();
  };
  show();
  return stop;
}
