/** The clothes that a person owns: photos and what is known of them, in this browser's own database. */

import { api } from "./api.js";
import * as store from "./store.js";
import { has, plain, t } from "./texts.js";

const PHOTO = 480;
const SURE = 0.9; // of a guess that is taken without asking

/** Every piece, oldest first; none where this browser keeps nothing. */
export async function pieces() {
  try {
    return (await store.all("pieces")).sort((a, b) => a.added - b.added);
  } catch {
    return [];
  }
}

/** Ask what a photo shows, and keep it. `photo` is what `prepare` of photo.js gives. */
export async function add(photo, signal) {
  const seen = await api.garment(photo.blob, signal);
  const guess = seen.kind ? { kind: seen.kind, sure: seen.kind_probability } : { kind: seen.category, sure: 0 };
  const piece = {
    id: photo.hash, name: "", blob: await small(photo.blob), added: Date.now(),
    // what the photo may show is a guess, and stays one until it is confirmed: nothing is built on it
    category: guess.sure >= SURE ? guess.kind : null, guess: guess.kind,
    pattern: seen.pattern, colors: seen.colors, signature: seen.signature,
  };
  await store.put("pieces", piece);
  return piece;
}

export const change = (...changed) => store.put("pieces", ...changed);
export const remove = (...gone) => store.remove("pieces", ...gone.map(({ id }) => id));

/** What is sent of the pieces: no photo. */
export const described = (all) =>
  JSON.stringify(all.map(({ id, name, category, pattern, colors, signature }) => ({ id, name, category, pattern, colors, signature })));

async function small(blob) {
  try {
    const bitmap = await createImageBitmap(blob);
    const scale = Math.min(1, PHOTO / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    return (await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.85))) ?? blob;
  } catch {
    return blob;
  }
}

/** What a piece is called: by its kind, as far as that is known. */
export const kindName = (kind) => (has(`kind_${kind}`) ? t(`kind_${kind}`) : plain(kind ?? ""));

/** Whether "do I own this?" is offered: something is owned, and the shop's photos showed that enough of it is noticed. */
export async function mayAsk(owned) {
  if (!owned.length) return false;
  const info = await api.info().catch(() => ({}));
  return info.notices_owned !== false;
}
