// The server's log and the bytes of its responses, over one connection for all tabs of this browser:
// the tab that holds the lock has the EventSource and tells the others.

const tabs = new window.BroadcastChannel("backstage");
const listeners = { log: new Set(), wire: new Set() };

function deliver({ type, detail }) {
  for (const listener of listeners[type]) listener(detail);
}
tabs.onmessage = (message) => deliver(message.data);

/** Calls `listener` with each log line (`{ line, time }`) or each piece of a wire (`{ key, kind, text }`). */
export function onBackstage(type, listener) {
  listeners[type].add(listener);
}

function listen(opened) {
  const source = new EventSource("/backstage");
  source.onopen = opened;
  for (const type of Object.keys(listeners)) {
    source.addEventListener(type, (event) => {
      const message = { type, detail: JSON.parse(event.data) };
      tabs.postMessage(message);
      deliver(message);
    });
  }
  // The lock is held until the tab is gone.
  return new Promise(() => {});
}

/** Resolves when this tab, or another one for it, is listening. */
export const isListening = new Promise((resolve) => {
  // Over plain HTTP from another machine a browser has no locks: each tab listens for itself.
  if (!navigator.locks) return void listen(resolve);
  navigator.locks.request("backstage", { ifAvailable: true }, (lock) => {
    if (lock) return listen(resolve);
    resolve();
    navigator.locks.request("backstage", () => listen(() => {}));
  });
});
