/** Filters as the catalogue has them, and the choices of how to search: buttons that open small menus. */

import { $, $$, h, icon } from "./dom.js";
import { PAGE, SIZES, asks, conditions } from "./address.js";
import { api } from "./api.js";
import { fieldName, has, isInternal, language, number, shown, t } from "./texts.js";

const FIRST = ["category", "brand", "color", "colour", "size", "price"]; // buttons of their own, in this order
const MANY = 12; // values beyond which a menu gets a field to narrow them
const MOST = 400; // a field with more values than this names things, it does not sort them
const LETTERS = { s: -1, m: 0, l: 1 };

/** The fields worth filtering by, the usual ones first. */
function useful(fields) {
  const rank = ({ name }) => {
    const place = FIRST.indexOf(name.toLowerCase());
    return place < 0 ? FIRST.length : place;
  };
  return fields
    .map((field) => ({
      ...field,
      // a value with the sign that separates values cannot be asked for
      values: field.values && inOrder(field.values.filter(({ value }) => !String(value).includes("|") && String(value) !== "")),
    }))
    .filter(({ name, kind, values, more, min, max }) =>
      !isInternal(name) && name !== "name" && (kind === "number" ? min < max : values.length > 1 && !more))
    .sort((a, b) => rank(a) - rank(b));
}

/** Where a size stands among sizes: XS before M before XXL, 8 before 10; NaN for what is no size. */
function sizeRank(value) {
  const text = String(value).trim().toLowerCase();
  const letters = /^(?:(\d)x|(x*))(s|m|l)$/.exec(text);
  if (letters) return LETTERS[letters[3]] * (1 + Number(letters[1] ?? letters[2].length));
  return /^(?:[a-z]{2} )?\d/.test(text) ? 100 + Number.parseFloat(text.replace(/^\D+/, "").replace(",", ".")) : NaN;
}

/** Sizes in their own order, all else as it comes: the most frequent first. */
function inOrder(values) {
  const ranks = new Map(values.map(({ value }) => [value, sizeRank(value)]));
  return [...ranks.values()].some(Number.isNaN) ? values : [...values].sort((a, b) => ranks.get(a.value) - ranks.get(b.value));
}

export class Filters {
  /** places: {filters, choices, chips}; onChange(change) is called with the parts of the state that change. */
  constructor(places, state, onChange) {
    this.places = places;
    this.state = state;
    this.onChange = onChange;
    this.menus = [];
    /** @type {any[]} what the words of the query were taken for */
    this.understood = [];
    addEventListener("scroll", () => this.#placeOpen(), { passive: true });
    addEventListener("resize", () => this.#placeOpen());
  }

  /** What the catalogue is: its fields are asked for when there is something to filter. */
  prepare(info) {
    this.info = info;
    this.#refresh();
  }

  /** Count anew what can be chosen, and build the menus when this is the first time. */
  async #refresh() {
    const { info, state } = this;
    if (!info || !asks(state)) return;
    const choices = { by: state.by, values: MOST };
    const where = conditions(state.where);
    try {
      this.fields ??= await api.facets(choices).then(({ fields }) => (this.#build(useful(fields), info), fields));
      if (state === this.state) this.#count(where.length ? (await api.facets({ ...choices, where })).fields : this.fields, state);
    } catch {
      this.fields = null; // the search says what is wrong; without filters it still works
    }
  }

  #build(kept, info) {
    const main = kept.filter(({ name }) => FIRST.includes(name.toLowerCase()));
    const rest = kept.filter((field) => !main.includes(field));
    // without the usual fields, the first few of the catalogue's own take their place
    if (main.length === 0) main.push(...rest.splice(0, 3));
    const entries = main.map((field) => [fieldName(field.name), [field], false]);
    if (rest.length) entries.push([t("more_filters"), rest, true]);
    this.places.filters.replaceChildren(...entries.flatMap(([label, group, titled]) =>
      this.#menu(label, group.map((field) => this.#control(field, titled)), group.map(({ name }) => name))));
    this.#buildChoices(info);
    this.sync(this.state);
  }

  /** What leads to nothing under the other filters is hidden, unless it is chosen. */
  #count(fields, state) {
    if (state !== this.state) return;
    const counts = new Map(fields.map(({ name, values }) => [name, new Map(values?.map(({ value, count }) => [String(value), count]))]));
    for (const row of $$(".tick:has([data-field])", this.places.filters)) {
      const box = $("input", row);
      const count = counts.get(box.dataset.field)?.get(box.value) ?? 0;
      $(".many", row).textContent = number(count);
      row.classList.toggle("none", count === 0 && !box.checked);
    }
  }

  /** Show what an answer says of the query, as chips that take it away. */
  showAnswer({ kind = null, understood = [] }) {
    this.kind = kind;
    this.understood = understood;
    this.#chips();
  }

  /** Show a state: ticks, numbers and chips. */
  sync(state) {
    if (state.q !== this.state.q) this.kind = null;
    if (state.text !== this.state.text) this.understood = [];
    const changed = state !== this.state;
    this.state = state;
    if (changed || !this.fields) this.#refresh();
    for (const box of $$("input[data-field]", document.body)) {
      const condition = state.where.get(box.dataset.field);
      if (box.type === "checkbox") box.checked = condition?.values?.includes(box.value) ?? false;
      else if (document.activeElement !== box) box.value = condition?.[box.dataset.bound] ?? "";
    }
    for (const box of $$("input[data-choice]", document.body)) {
      box.checked = String(state[box.dataset.choice] || box.dataset.usual) === box.value;
    }
    for (const { button, fields } of this.menus) {
      const chosen = fields.reduce((sum, field) => {
        const condition = state.where.get(field);
        return sum + (condition ? (condition.values?.length ?? 1) : 0);
      }, 0);
      button.classList.toggle("on", chosen > 0);
      const tally = $(".tally", button);
      tally.hidden = chosen === 0;
      tally.textContent = number(chosen);
    }
    this.#chips();
  }

  #change(field, condition) {
    const where = new Map(this.state.where);
    if (condition) where.set(field, condition);
    else where.delete(field);
    this.onChange({ where });
  }

  #toggle(field, value, on) {
    const before = this.state.where.get(field)?.values ?? [];
    const values = on ? [...before, value] : before.filter((one) => one !== value);
    this.#change(field, values.length ? { values } : null);
  }

  /* Menus */

  #menu(label, controls, fields, face) {
    const id = `menu-${this.menus.length}`;
    const button = h("button", { type: "button", class: "button pick", popovertarget: id, "aria-expanded": "false" },
      face ?? [h("span", {}, label), h("span", { class: "tally", hidden: true }), icon("down")]);
    const menu = h("div", { class: "menu", id, popover: "auto", role: "group", "aria-label": label }, controls,
      h("button", { type: "button", class: "button primary done", popovertarget: id, popovertargetaction: "hide" }, t("close")));
    menu.addEventListener("toggle", (event) => {
      const open = event.newState === "open";
      button.setAttribute("aria-expanded", String(open));
      if (open) this.#place(button, menu);
    });
    menu.addEventListener("beforetoggle", (event) => {
      // placed before it is seen; its size is known only after, so that is checked once more
      if (event.newState === "open") this.#place(button, menu);
    });
    if (!face) this.menus.push({ button, fields, menu });
    else this.optionMenu = { button, menu };
    return [button, menu];
  }

  #place(button, menu) {
    const at = button.getBoundingClientRect();
    const width = menu.offsetWidth || 232;
    const left = at.left + width > innerWidth - 16 ? at.right - width : at.left;
    menu.style.left = `${Math.max(16, left)}px`;
    menu.style.top = `${at.bottom + 8}px`;
  }

  #placeOpen() {
    for (const { button, menu } of [...this.menus, this.optionMenu].filter(Boolean)) {
      if (menu.matches(":popover-open")) this.#place(button, menu);
    }
  }

  #control(field, titled) {
    const label = fieldName(field.name);
    const title = titled ? h("legend", {}, label) : h("legend", { class: "unseen" }, label);
    return h("fieldset", {}, title, field.kind === "number" ? this.#bounds(field) : this.#ticks(field, label));
  }

  #ticks(field, label) {
    const rows = field.values.map(({ value, count }) =>
      h("label", { class: "tick" },
        h("input", {
          type: "checkbox", value, data: { field: field.name },
          onchange: (event) => this.#toggle(field.name, String(value), event.target.checked),
        }),
        h("span", {}, valueName(value)),
        h("span", { class: "many" }, number(count))));
    if (rows.length <= MANY) return rows;
    const name = t("narrow", { field: label.toLocaleLowerCase(language) });
    const narrow = h("input", { type: "search", class: "narrow", "aria-label": name, placeholder: name });
    narrow.addEventListener("input", () => {
      const wanted = narrow.value.toLocaleLowerCase();
      for (const row of rows) row.hidden = !row.textContent.toLocaleLowerCase().includes(wanted);
    });
    return [narrow, ...rows];
  }

  #bounds(field) {
    const input = (bound, label, end) =>
      h("label", {}, label,
        h("input", {
          type: "number", inputmode: "decimal", step: "any", placeholder: end, data: { field: field.name, bound },
          onchange: (event) => {
            const before = this.state.where.get(field.name) ?? {};
            const next = { low: before.low ?? "", high: before.high ?? "", [bound]: event.target.value };
            if (next.low !== "" && next.high !== "" && Number(next.low) > Number(next.high)) {
              [next.low, next.high] = [next.high, next.low];
            }
            this.#change(field.name, next.low === "" && next.high === "" ? null : next);
          },
        }));
    return h("div", { class: "bounds" },
      input("low", t("minimum"), Math.floor(field.min)), input("high", t("maximum"), Math.ceil(field.max)));
  }

  /* Choices: products or photos, the measure, how many */

  #buildChoices(info) {
    const segments = (choice, values, usual, label) =>
      h("fieldset", {}, h("legend", {}, label),
        h("div", { class: "segments" }, values.map(([value, text]) =>
          h("label", {}, h("input", {
            type: "radio", class: "unseen", name: choice, value, data: { choice, usual },
            onchange: () => this.onChange({ [choice]: choice === "k" ? Number(value) : value }),
          }), text))));
    const controls = [];
    if (info.products > 0 && info.products < info.items) {
      controls.push(segments("by", [["product", t("by_product")], ["item", t("by_item")]], "product", t("by")));
    }
    if (info.metrics?.length > 1) {
      const metrics = info.metrics.map((metric) => [metric, has(`metric_${metric}`) ? t(`metric_${metric}`) : metric]);
      controls.push(segments("metric", metrics, info.metrics[0], t("metric")));
    }
    const sorts = [["", t("sort_nearest")]];
    if ("price" in info.fields) sorts.push(["price", t("sort_cheap")], ["-price", t("sort_dear")]);
    if (info.newest) sorts.push([`-${info.newest}`, t("sort_newest")]);
    if (sorts.length > 1) controls.unshift(segments("sort", sorts, "", t("sort")));
    controls.push(segments("k", SIZES.map((size) => [String(size), number(size)]), String(PAGE), t("k")));
    const face = [icon("options"), h("span", {}, t("options"))];
    this.places.choices.replaceChildren(...this.#menu(t("options"), controls, [], face));
  }

  /* Chips */

  #chips() {
    const chip = (text, remove) =>
      h("button", { type: "button", class: "chip", "aria-label": t("remove_filter", { filter: text }), onclick: (event) => {
        const place = $$(".chip", this.places.chips).indexOf(event.currentTarget);
        remove();
        const left = $$(".chip", this.places.chips);
        (left[Math.min(place, left.length - 1)] ?? $(".pick", this.places.filters))?.focus();
      } }, h("span", {}, text), icon("close"));
    const chips = [...this.state.where].flatMap(([field, condition]) => {
      const name = fieldName(field);
      if (condition.text) return [chip(condition.text, () => this.#change(field, null))];
      if (condition.values) {
        return condition.values.map((value) =>
          chip(`${name}: ${valueName(value)}`, () => this.#toggle(field, value, false)));
      }
      const low = condition.low === "" ? "" : number(Number(condition.low));
      const high = condition.high === "" ? "" : number(Number(condition.high));
      const range = low && high ? `${low} – ${high}` : low ? `≥ ${low}` : `≤ ${high}`;
      return [chip(`${name}: ${range}`, () => this.#change(field, null))];
    });
    const filtered = chips.length;
    if (this.state.kind === "any") chips.unshift(chip(t("any_kind"), () => this.onChange({ kind: "" })));
    else if (this.kind) {
      const kind = t(`kind_${this.kind}`);
      chips.unshift(chip(t("looks_like", { kind }), () => this.onChange({ kind: "any" })));
    }
    chips.unshift(...this.understood.map(({ text, role, value, found }) => {
      const name = role === "word" ? value : t(`${role}_${value}`);
      const piece = chip(name.toLocaleLowerCase(language) === text.toLocaleLowerCase(language) ? text : `${text}: ${name}`,
        () => this.onChange({ text: without(this.state.text, text) }));
      piece.classList.toggle("none", !found);
      if (!found) piece.title = t("nobody_has", { text });
      return piece;
    }));
    if (filtered > 1) {
      chips.push(h("button", { type: "button", class: "chip clear", onclick: () => {
        this.onChange({ where: new Map() });
        $(".pick", this.places.filters)?.focus();
      } }, t("clear")));
    }
    this.places.chips.replaceChildren(...chips);
  }
}

const valueName = (value) => (value === "true" || value === "false" ? t(value) : shown(value));

/** A text without one of its pieces, as it was written. */
const without = (text, piece) => text.replace(piece, " ").replace(/\s+/g, " ").trim();
