// With HTTP/1.1 a browser opens six connections to a host, for all its tabs together; a seventh request
// waits without a word. One is backstage's and one is kept for POST and DELETE, so four are for streams.

const slots = ["stream 1", "stream 2", "stream 3", "stream 4"];
const changes = new window.BroadcastChannel("connections");

/** Resolves with a function that gives the connection back, when there is a free one; rejects when `signal` aborts. */
export function takeConnection(signal) {
  if (!navigator.locks) return Promise.resolve(() => {});
  return new Promise((resolve, reject) => {
    const taken = new AbortController();
    const enough = AbortSignal.any([signal, taken.signal]);
    for (const slot of slots) {
      const use = () =>
        new Promise((giveBack) => {
          if (enough.aborted) return giveBack();
          taken.abort();
          resolve(giveBack);
          changed();
        });
      navigator.locks.request(slot, { signal: enough }, use).then(changed, reject);
    }
  });
}

/** Calls `listener` with the number of streams that this browser has open, whenever it changes. */
export function onConnections(listener) {
  const look = async () => {
    const { held } = (await navigator.locks?.query()) ?? { held: [] };
    listener(held.filter(({ name }) => slots.includes(name) || name === "backstage").length);
  };
  changes.onmessage = look;
  window.addEventListener("connections", look);
  look();
}

function changed() {
  changes.postMessage("");
  window.dispatchEvent(new CustomEvent("connections"));
}
