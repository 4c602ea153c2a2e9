/** The photo searched with and the rectangle on it: by mouse, by touch, by keyboard. */

import { $, $$ } from "./dom.js";

const SMALLEST = 48; // pixels on the screen: two fingers' room for the corners
const STEP = 0.02;
const PAUSE = 400; // ms without a key before the rectangle counts as let go
const WHOLE = [0, 0, 1, 1];

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** @typedef {number[]} Box x, y, width and height, in fractions of the photo */

/** frame: the element; onChange is called with the new crop, or null for the whole photo, on release. */
export class Frame {
  constructor(frame, onChange) {
    this.frame = frame;
    this.photo = $("img", frame);
    this.region = $(".region", frame);
    this.hole = $(".hole", frame);
    this.onChange = onChange;
    this.box = [...WHOLE];
    this.settled = [...WHOLE];
    frame.addEventListener("pointerdown", (event) => this.#grab(event));
    frame.addEventListener("keydown", (event) => this.#key(event));
    this.photo.addEventListener("load", () => this.#shape(this.photo.naturalWidth, this.photo.naturalHeight));
    this.photo.addEventListener("error", () => this.frame.classList.add("unseeable"));
    this.#draw();
  }

  get crop() {
    return this.#isWhole(this.settled) ? null : [...this.settled];
  }

  /** Show a photo; width and height (0 where unknown) shape the frame before the photo is there. */
  show(source, width = 0, height = 0) {
    this.frame.classList.remove("unseeable");
    if (width && height) this.#shape(width, height);
    if (this.photo.getAttribute("src") !== source) this.photo.src = source;
  }

  set(crop) {
    this.box = crop ? [...crop] : [...WHOLE];
    this.settled = [...this.box];
    this.#draw();
  }

  reset() {
    this.box = [...WHOLE];
    this.#release();
  }

  #shape(width, height) {
    this.frame.style.setProperty("--ratio", clamp(width / height, 0.2, 5));
  }

  #isWhole(/** @type {Box} */ [x, y, w, h]) {
    return x < 0.005 && y < 0.005 && w > 0.99 && h > 0.99;
  }

  #smallest() {
    const { width, height } = this.frame.getBoundingClientRect();
    return [Math.min(1, SMALLEST / width), Math.min(1, SMALLEST / height)];
  }

  #draw() {
    const [x, y, w, h] = this.box.map((part) => part * 100);
    const place = (element, left, top, width, height) => {
      element.style.left = `${left}%`;
      element.style.top = `${top}%`;
      if (width !== undefined) element.style.width = `${width}%`;
      if (height !== undefined) element.style.height = `${height}%`;
    };
    place(this.region, x, y, w, h);
    place(this.hole, x, y, w, h);
    for (const corner of $$(".corner", this.frame)) {
      const { edge } = corner.dataset;
      place(corner, edge.includes("w") ? x : x + w, edge.includes("n") ? y : y + h);
    }
    place($(".edge.n", this.frame), x, y, w);
    place($(".edge.s", this.frame), x, y + h, w);
    place($(".edge.w", this.frame), x, y, undefined, h);
    place($(".edge.e", this.frame), x + w, y, undefined, h);
    this.frame.classList.toggle("whole", this.#isWhole(this.box));
  }

  #release() {
    clearTimeout(this.timer);
    if (this.#isWhole(this.box)) this.box = [...WHOLE];
    this.#draw();
    if (this.box.every((part, i) => Math.abs(part - this.settled[i]) < 0.002)) return;
    this.settled = [...this.box];
    this.onChange(this.crop);
  }

  /** Move edges of a box by fractions, keeping it inside and not too small. */
  #resized(/** @type {Box} */ [x, y, w, h], edge, dx, dy) {
    const [minW, minH] = this.#smallest();
    let [left, top, right, bottom] = [x, y, x + w, y + h];
    if (edge.includes("w")) left = clamp(left + dx, 0, Math.max(0, right - minW));
    if (edge.includes("e")) right = clamp(right + dx, Math.min(1, left + minW), 1);
    if (edge.includes("n")) top = clamp(top + dy, 0, Math.max(0, bottom - minH));
    if (edge.includes("s")) bottom = clamp(bottom + dy, Math.min(1, top + minH), 1);
    return [left, top, right - left, bottom - top];
  }

  #moved(/** @type {Box} */ [x, y, w, h], dx, dy) {
    return [clamp(x + dx, 0, 1 - w), clamp(y + dy, 0, 1 - h), w, h];
  }

  #grab(event) {
    if (event.button !== 0 || this.frame.matches(".unseeable, .fixed")) return;
    const edge = event.target.dataset.edge;
    const inside = event.target === this.region;
    // A finger on the photo itself scrolls the page; a mouse draws a new rectangle.
    if (!edge && !inside && event.pointerType === "touch") return;
    event.preventDefault();
    if (edge || inside) event.target.focus({ preventScroll: true, focusVisible: false });
    const bounds = this.frame.getBoundingClientRect();
    const at = (e) => [(e.clientX - bounds.left) / bounds.width, (e.clientY - bounds.top) / bounds.height];
    const start = at(event);
    const before = [...this.box];
    let moved = false;
    const move = (e) => {
      if (e.pointerId !== event.pointerId) return;
      const [px, py] = at(e);
      const [dx, dy] = [px - start[0], py - start[1]];
      moved ||= Math.hypot(e.clientX - event.clientX, e.clientY - event.clientY) > 4;
      if (!moved) return;
      if (edge) this.box = this.#resized(before, edge, dx, dy);
      else if (inside) this.box = this.#moved(before, dx, dy);
      else this.box = this.#drawn(start, [px, py]);
      this.#draw();
    };
    const end = (e) => {
      if (e.pointerId !== event.pointerId) return;
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", end);
      removeEventListener("pointercancel", end);
      if (e.type === "pointercancel") {
        this.box = before;
        this.#draw();
      } else if (moved) this.#release();
    };
    // on the window: a pointer that leaves the photo, or the tab's edge, still holds the rectangle
    addEventListener("pointermove", move);
    addEventListener("pointerup", end);
    addEventListener("pointercancel", end);
  }

  #drawn(/** @type {number[]} */ [x0, y0], /** @type {number[]} */ [x1, y1]) {
    const [minW, minH] = this.#smallest();
    const left = clamp(Math.min(x0, x1), 0, 1 - minW);
    const top = clamp(Math.min(y0, y1), 0, 1 - minH);
    const right = clamp(Math.max(x0, x1), left + minW, 1);
    const bottom = clamp(Math.max(y0, y1), top + minH, 1);
    return [left, top, right - left, bottom - top];
  }

  #key(event) {
    const directions = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const direction = directions[event.key];
    if (event.key === "Escape" && !this.#isWhole(this.box)) {
      event.preventDefault();
      this.reset();
    }
    if (!direction || event.altKey || event.metaKey) return;
    const step = event.ctrlKey ? STEP / 4 : STEP;
    const [dx, dy] = direction.map((part) => part * step);
    const { edge } = event.target.dataset;
    if (edge) this.box = this.#resized(this.box, edge, dx, dy);
    else if (event.target !== this.region) return;
    else if (event.shiftKey) this.box = this.#resized(this.box, "se", dx, dy);
    else this.box = this.#moved(this.box, dx, dy);
    event.preventDefault();
    this.#draw();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#release(), PAUSE);
  }
}
