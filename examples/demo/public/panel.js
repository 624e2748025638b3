import { isListening } from "./backstage.js";
import { showCode } from "./code.js";
import { takeConnection } from "./connections.js";
import { Wire } from "./wire.js";

/** What every panel has: buttons, a state, a wire view, its code, and at most one EventSource. */
export class Panel {
  /** The wire view. */
  wire;
  #section;
  #state;
  #source;
  #opening;
  #giveBack = () => {};

  constructor(section) {
    this.#section = section;
    const parts = document.getElementById("panel-parts").content.cloneNode(true);
    this.#state = section.querySelector(".state");
    this.wire = new Wire(parts.querySelector(".wire pre"));
    const title = section.querySelector("h2").textContent;
    parts.querySelector(".wire pre").setAttribute("aria-label", `${title}: the wire`);
    parts.querySelector(".code pre").setAttribute("aria-label", `${title}: source text`);
    section.querySelector(".views").append(parts.querySelector(".wire"));
    this.#showCodeIn(parts.querySelector(".code"));
    section.append(parts);
    // A form is there for the Enter key, which presses its button.
    section.querySelector("form")?.addEventListener("submit", (event) => event.preventDefault());
    this.state = "idle";
  }

  #showCodeIn(details) {
    const { id, dataset } = this.#section;
    const files = {
      server: [`panels/${id}.ts`, `/code/${id}.ts`],
      page: [`public/panels/${id}.js`, `/panels/${id}.js`],
      process: [`panels/${dataset.process}.ts`, `/code/${dataset.process}.ts`],
    };
    const buttons = [...details.querySelectorAll("button")];
    // Most panels need no process beside the server.
    if (dataset.process === undefined) buttons.pop().remove();
    const show = async (button) => {
      const [name, path] = files[button.value];
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      details.querySelector(".file").textContent = `examples/demo/${name}`;
      await showCode(details.querySelector("code"), path);
    };
    for (const button of buttons) button.onclick = () => show(button);
    details.addEventListener("toggle", () => details.open && show(buttons[0]), { once: true });
  }

  find(selector) {
    return this.#section.querySelector(selector);
  }

  /** One of: idle, connecting, waiting, open, reconnecting, stopped, ended, lost. */
  set state(state) {
    this.#section.dataset.state = state;
    this.#state.textContent = state === "waiting" ? "waits its turn" : state;
    const toggle = this.find("[data-toggle]");
    if (toggle) toggle.textContent = this.isOn ? (toggle.dataset.off ?? "Stop") : toggle.dataset.toggle;
    for (const button of this.#section.querySelectorAll("[data-while-open]")) {
      // Not `disabled`: that would take the focus away from who has just pressed it.
      button.setAttribute("aria-disabled", String(state !== "open"));
    }
  }

  get state() {
    return this.#section.dataset.state;
  }

  get isOn() {
    return ["connecting", "waiting", "open", "reconnecting"].includes(this.state);
  }

  /** Calls `pressed` when the button is pressed, unless it is shown as disabled. */
  onPress(selector, pressed) {
    const button = this.find(selector);
    button.addEventListener("click", () => {
      if (button.getAttribute("aria-disabled") !== "true") pressed();
    });
  }

  /** A button that starts and, while something runs, stops. */
  onToggle(start) {
    this.onPress("[data-toggle]", () => (this.isOn ? this.close() : start()));
  }

  /**
   * Opens an EventSource when there is a connection for it. `listeners` are called, by event type,
   * with the MessageEvent; besides, `opened` on each connection and `stopped` when the server has answered 204.
   */
  async open(path, { opened, stopped, ...listeners }) {
    const giveBack = await this.connect();
    if (giveBack === undefined) return;
    const source = (this.#source = new EventSource(path));
    source.onopen = () => {
      this.state = "open";
      opened?.();
    };
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) {
        this.close("ended");
        stopped?.();
      } else {
        this.state = "reconnecting";
      }
    };
    for (const [type, listener] of Object.entries(listeners)) source.addEventListener(type, listener);
  }

  /** Waits for a free connection, which `close` gives back; `undefined` when it was closed before. */
  async connect() {
    this.close();
    this.wire.clear();
    const opening = (this.#opening = new AbortController());
    this.state = "connecting";
    await isListening;
    if (opening.signal.aborted) return undefined;
    this.state = "waiting";
    const giveBack = await takeConnection(opening.signal).catch(() => undefined);
    if (opening.signal.aborted) giveBack?.();
    else this.#giveBack = giveBack;
    return opening.signal.aborted ? undefined : giveBack;
  }

  /** Lets the stream and its connection go. */
  close(state = "idle") {
    this.#opening?.abort();
    this.#source?.close();
    this.#giveBack();
    this.#giveBack = () => {};
    this.state = state;
  }

  /** Has the server destroy the socket, as a broken network would. */
  async kill() {
    await fetch(`/backstage/connections/${this.wire.key}`, { method: "DELETE" });
  }
}

/** Keeps what is added to an element in view, unless someone has scrolled up. */
export function follow(list) {
  let isAtEnd = true;
  let before = 0;
  list.addEventListener("scroll", () => {
    const { scrollTop, scrollHeight, clientHeight } = list;
    // What has come since this event was set going, or made the element smaller, is nobody's scrolling up.
    isAtEnd = scrollHeight - scrollTop - clientHeight < 8 || (isAtEnd && scrollTop >= before);
    before = scrollTop;
  });
  const scroll = () => isAtEnd && list.scrollTo({ top: list.scrollHeight, behavior: "instant" });
  new window.MutationObserver(scroll).observe(list, { childList: true, subtree: true });
  new ResizeObserver(scroll).observe(list);
}

/** An element with a text, which is never taken for HTML. */
export function element(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

/** POSTs JSON; throws with the server's own words when it is refused. */
export async function post(path, body, signal) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  if (!response.ok) throw new Error((await response.json()).error);
  return response;
}
