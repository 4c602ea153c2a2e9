/** The texts of the language in use, and how numbers, fields and values are written in it. */

export const texts = JSON.parse(document.getElementById("texts").textContent);
export const language = document.documentElement.lang;

const plural = new Intl.PluralRules(language);
const whole = new Intl.NumberFormat(language);

/** The text of a name, with {placeholders} filled. */
export function t(name, values = {}) {
  const text = texts[name] ?? name;
  return text.replace(/\{(\w+)\}/g, (found, key) => (key in values ? values[key] : found));
}

/** The text of a name for a number: name_one, name_other, as the language has them. */
export function tn(name, count, values) {
  const key = `${name}_${plural.select(count)}`;
  return t(key in texts ? key : `${name}_other`, values);
}

export const has = (name) => name in texts;
export const number = (value) => whole.format(value);

/** What a field of the catalogue is called: a known name, else the field's own made readable. */
export function fieldName(field) {
  const known = `field_${field.toLowerCase()}`;
  if (known in texts) return texts[known];
  const words = field.replace(/[_-]+/g, " ").trim();
  return words.charAt(0).toLocaleUpperCase(language) + words.slice(1);
}

const INTERNAL = /^(?:id|sku|gtin|ean|mpn|upc|asin|view|angle|pose|content|images?|link|url|currency|handle|label|split|published|created|updated|date_added)$|(?:^|_)(?:ids?|url|link|images?|at)$/i;

/** Whether a field is for the shop's own order, and tells a shopper nothing. */
export const isInternal = (field) => INTERNAL.test(field);

/** A value as people read it. */
export function shown(value) {
  if (Array.isArray(value)) return value.map(shown).join(", ");
  if (typeof value === "number") return decimal(value);
  if (typeof value === "boolean") return t(String(value));
  return plain(String(value));
}

const parsed = (html) => new DOMParser().parseFromString(html, "text/html").documentElement.textContent;
const decoded = (text) => text.replace(/&(?:#\d{1,7}|#x[\da-f]{1,6}|[a-z]{2,31}\d{0,2});/gi, parsed);

/** A name without what tables of shops often hold: HTML's character entities and marks of emphasis. */
export const plain = (text) =>
  decoded(text.replace(/<\/?(?:b|strong|i|em|u|span|font)(?:\s[^<>]*)?>/gi, "").replace(/<\/?(?:br|p)\b[^<>]*>/gi, " ")).trim();

/** A description without its HTML; what stood in paragraphs and lists still does in lines. */
export const prose = (text) =>
  decoded(text).replace(/<(style|script)\b.*?<\/\1\s*>/gis, "").replace(/<(?:br|\/p|\/li|\/div|\/tr|\/h\d)\b[^<>]*>/gi, "\n")
    .replace(/<\/?[a-z][^<>]*>|<!--.*?-->/gis, "").replace(/[ \t\u00a0]+/g, " ").replace(/\s*\n\s*/g, "\n").trim();

export function decimal(value) {
  return new Intl.NumberFormat(language, { maximumFractionDigits: 4 }).format(value);
}

export function bytes(size) {
  const megabytes = size / 1e6;
  const digits = { maximumFractionDigits: megabytes < 10 ? 1 : 0 };
  return `${new Intl.NumberFormat(language, digits).format(megabytes)} MB`;
}

/** What an item is called; a photo of a folder, which has no name, by its kind. @param {any} item */
export function nameOf({ attributes = {}, product_id: product, id }) {
  const [name, kind] = [attributes.name, attributes.category].map((one) => plain(String(one || "")));
  return name || lastOf(kind) || plain(String(product || id));
}

/** Of a category that is a path, such as Men/Tops/Shirts, the last part. */
export const lastOf = (category) => category.split(/[/>]/).at(-1).trim();
