/** A photo that a person brings: checked, made small enough to send quickly, and kept for back and reload. */

import { Problem } from "./client.js";
import * as store from "./store.js";

const LONG_SIDE = 1280; // encoders see a few hundred pixels; this leaves room for a small rectangle
const AS_IT_IS = 1_500_000; // bytes: a file this small is sent as it is
const HELD = 24; // photos kept for going back
let largest = 20_000_000;

export function setLargest(bytes) {
  if (Number.isFinite(bytes) && bytes > 0) largest = bytes;
}

/**
 * Prepare a file for searching.
 *
 * Returns {hash, blob, name, width, height}; width and height are 0 for a photo that this browser
 * cannot show (TIFF in most) but that the server may well read.
 */
export async function prepare(file) {
  const name = file.name || "";
  if (file.size === 0) throw new Problem("empty_file", { file: name });
  let bitmap = null;
  // Larger files are not even tried: decoding one can take a phone's whole memory.
  if (file.size <= 2 * largest) bitmap = await decode(file);
  if (bitmap === null) {
    if (file.size > largest) throw new Problem("large", { file: name, size: file.size, limit: largest });
    if (!(await looksLikePhoto(file))) throw new Problem("not_photo", { file: name });
  }
  const width = bitmap?.width ?? 0;
  const height = bitmap?.height ?? 0;
  let blob = file;
  if (bitmap !== null && (Math.max(width, height) > LONG_SIDE || file.size > AS_IT_IS)) {
    blob = (await shrink(bitmap)) ?? file;
  }
  bitmap?.close();
  if (blob.size > largest) throw new Problem("large", { file: name, size: file.size, limit: largest });
  return { hash: await hashOf(blob), blob, name, width, height };
}

async function decode(file) {
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    return null;
  }
}

async function shrink(bitmap) {
  const scale = Math.min(1, LONG_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const pen = canvas.getContext("2d", { alpha: false });
  if (pen === null) return null;
  pen.fillStyle = "#fff"; // what is transparent shows as white, as the server does it
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.9));
}

/** Whether a file that the browser cannot show may still be a photo for the server. */
async function looksLikePhoto(file) {
  const head = new Uint8Array(await file.slice(0, 16).arrayBuffer());
  const text = String.fromCharCode(...head);
  return (
    /^(\xff\xd8\xff|\x89PNG|GIF8|BM|II[*+]\0|MM\0[*+])/.test(text) ||
    /^RIFF.{4}WEBP/s.test(text) ||
    /^.{4}ftyp(avi|hei|hev|mif|msf)/s.test(text)
  );
}

/** A name for some bytes: 53 bits are plenty to tell apart the photos of one browser. */
async function hashOf(blob) {
  const data = new Uint8Array(await blob.arrayBuffer());
  let a = 0xdeadbeef;
  let b = 0x41c6ce57;
  for (let i = 0; i < data.length; i++) {
    a = Math.imul(a ^ data[i], 2654435761);
    b = Math.imul(b ^ data[i], 1597334677);
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
  return (4294967296 * (2097151 & b) + (a >>> 0)).toString(36);
}

/* Kept photos: in the browser's own database, else (private windows of some browsers) in memory. */

const memory = new Map();

export async function keep(photo) {
  memory.set(photo.hash, photo);
  try {
    await store.put("photos", { ...photo, kept: Date.now() });
    const old = (await recent()).slice(HELD).map(({ hash }) => hash);
    if (old.length) await store.remove("photos", ...old);
  } catch {
    // then it lasts as long as the page is open
  }
}

export async function kept(hash) {
  if (memory.has(hash)) return memory.get(hash);
  try {
    return (await store.get("photos", hash)) ?? null;
  } catch {
    return null;
  }
}

/** The photos that are kept, the last one searched with first. */
export async function recent() {
  try {
    return (await store.all("photos")).sort((a, b) => b.kept - a.kept);
  } catch {
    return [...memory.values()].reverse();
  }
}

/** Forget photos; returns what brings them back. */
export async function forget(photos) {
  for (const { hash } of photos) memory.delete(hash);
  await store.remove("photos", ...photos.map(({ hash }) => hash));
  return () => store.put("photos", ...photos);
}
