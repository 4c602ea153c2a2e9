/** The clothes that a person owns: photos and what is known of them, in this browser's own database. */

import { api } from "./api.js";

const PHOTO = 480;

function open() {
  return new Promise((done, fail) => {
    const request = indexedDB.open("serupa-wardrobe", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("pieces", { keyPath: "id" });
    request.onsuccess = () => done(request.result);
    request.onerror = () => fail(request.error);
  });
}

async function within(mode, work) {
  const database = await open();
  try {
    return await new Promise((done, fail) => {
      const transaction = database.transaction("pieces", mode);
      const request = work(transaction.objectStore("pieces"));
      transaction.oncomplete = () => done(request?.result);
      transaction.onerror = transaction.onabort = () => fail(transaction.error);
    });
  } finally {
    database.close();
  }
}

/** Every piece, oldest first; none where this browser keeps nothing. */
export async function pieces() {
  try {
    return (await within("readonly", (store) => store.getAll())).sort((a, b) => a.added - b.added);
  } catch {
    return [];
  }
}

/** Ask what a photo shows, and keep it. `photo` is what `prepare` of photo.js gives. */
export async function add(photo, signal) {
  const seen = await api.garment(photo.blob, signal);
  const piece = {
    id: photo.hash, name: photo.name.replace(/\.[^.]*$/, ""), blob: await small(photo.blob), added: Date.now(),
    category: seen.category, pattern: seen.pattern, colors: seen.colors, signature: seen.signature,
  };
  await within("readwrite", (store) => store.put(piece));
  return piece;
}

export const change = (piece) => within("readwrite", (store) => store.put(piece));
export const remove = (id) => within("readwrite", (store) => store.delete(id));
export const forget = () => within("readwrite", (store) => store.clear());

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
