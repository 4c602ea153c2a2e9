/** The texts of the language in use, and how numbers, fields and values are written in it. */

const texts = JSON.parse(document.getElementById("texts").textContent);
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

/** A value as people read it. Tables of shops often hold HTML's character entities. */
export function shown(value) {
  if (Array.isArray(value)) return value.map(shown).join(", ");
  if (typeof value === "number") return decimal(value);
  if (typeof value === "boolean") return t(String(value));
  return plain(String(value));
}

export const plain = (text) =>
  text.replace(/&(?:#\d{1,7}|#x[\da-f]{1,6}|[a-z]{2,31}\d{0,2});/gi, (entity) => {
    return new DOMParser().parseFromString(entity, "text/html").documentElement.textContent;
  });

export function decimal(value) {
  return new Intl.NumberFormat(language, { maximumFractionDigits: 4 }).format(value);
}

/** A price: with its currency where the catalogue names one. */
export function price(attributes) {
  const value = attributes.price;
  if (value === undefined || value === null || value === "") return "";
  if (typeof value !== "number") return plain(String(value));
  const digits = Number.isInteger(value) ? 0 : 2;
  const fraction = { minimumFractionDigits: digits, maximumFractionDigits: 2 };
  try {
    if (attributes.currency) {
      return new Intl.NumberFormat(language, { style: "currency", currency: attributes.currency, ...fraction }).format(value);
    }
  } catch {
    // not one of the currency codes there are: the number alone
  }
  return new Intl.NumberFormat(language, fraction).format(value);
}

export function bytes(size) {
  const megabytes = size / 1e6;
  const digits = { maximumFractionDigits: megabytes < 10 ? 1 : 0 };
  return `${new Intl.NumberFormat(language, digits).format(megabytes)} MB`;
}

/** A similarity: two decimals where 1 is the most there is, three where scores are small. */
export function score(similarity, metric) {
  const digits = metric === "cosine" ? 2 : 3;
  return new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(similarity);
}

export const nameOf = (item) => plain(String(item.attributes?.name || item.product_id || item.id));
