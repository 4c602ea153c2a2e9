// @ts-check
/** What this browser keeps in its own database: photos that were searched with, and clothes that are owned. */

const KEYS = { photos: "hash", pieces: "id" };
/** @typedef {keyof typeof KEYS} Store */

/** @returns {Promise<IDBDatabase>} */
function open() {
  return new Promise((done, fail) => {
    const request = indexedDB.open("serupa", 2);
    request.onupgradeneeded = () => {
      for (const [name, keyPath] of Object.entries(KEYS)) {
        if (!request.result.objectStoreNames.contains(name)) request.result.createObjectStore(name, { keyPath });
      }
    };
    request.onsuccess = () => done(request.result);
    request.onerror = () => fail(request.error);
  });
}

/**
 * @param {Store} name
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => any} work
 * @returns {Promise<any>}
 */
async function within(name, mode, work) {
  const database = await open();
  try {
    return await new Promise((done, fail) => {
      const transaction = database.transaction(name, mode);
      const request = work(transaction.objectStore(name));
      transaction.oncomplete = () => done(request?.result);
      transaction.onerror = transaction.onabort = () => fail(transaction.error);
    });
  } finally {
    database.close();
  }
}

/** @param {Store} name */
export const all = (name) => within(name, "readonly", (store) => store.getAll());
/** @param {Store} name @param {string} key */
export const get = (name, key) => within(name, "readonly", (store) => store.get(key));
/** @param {Store} name @param {object[]} values */
export const put = (name, ...values) => within(name, "readwrite", (store) => values.forEach((value) => store.put(value)));
/** @param {Store} name @param {string[]} keys */
export const remove = (name, ...keys) => within(name, "readwrite", (store) => keys.forEach((key) => store.delete(key)));
