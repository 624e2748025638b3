// The page of chat.ts. Its types are in comments: an event or a property that the server does not send does not compile.
// @ts-check
/** @import { Received } from "./chat.js" */
/** @typedef {{ [Name in Received["event"]]: (data: Extract<Received, { event: Name }>["data"]) => void }} Listeners */

const list = /** @type {HTMLElement} */ (document.querySelector("ul"));
const form = /** @type {HTMLFormElement} */ (document.querySelector("form"));

/** @param {string} text */
const show = (text) => list.append(Object.assign(document.createElement("li"), { textContent: text }));

/** @type {Listeners} */
const listeners = {
  joined: ({ name }) => show(`${name} is here`),
  said: ({ name, text }) => show(`${name}: ${text}`),
  gap: () => list.replaceChildren(), // messages are missing: show only those that are left, which come next
};

const source = new EventSource("/messages");
for (const [event, listener] of Object.entries(listeners)) {
  source.addEventListener(event, ({ data }) => listener(JSON.parse(data)));
}

form.onsubmit = async (event) => {
  event.preventDefault();
  await fetch("/messages", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(Object.fromEntries(new FormData(form))),
  });
  form.text.value = "";
};
