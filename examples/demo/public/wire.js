import { onBackstage } from "./backstage.js";

const keptLines = 300;

/** Shows the text of a stream as it is, a line break for a line break, coloured by field. */
export class Wire {
  #list;
  #key;
  #rest = "";

  constructor(list) {
    this.#list = list;
    onBackstage("wire", ({ key, kind, text }) => {
      if (key === this.#key) this.show(kind, text);
    });
  }

  /** `path` with a key under which the server tells what it sends; only that is shown from now on. */
  watch(path) {
    this.#key = Math.random().toString(36).slice(2);
    return `${path}?wire=${this.#key}`;
  }

  /** The key of the response that is watched. */
  get key() {
    return this.#key;
  }

  clear() {
    this.#rest = "";
    this.#list.replaceChildren();
  }

  /** `kind` is "request", "head", "frames" or "end". */
  show(kind, text) {
    const list = this.#list;
    if (kind === "frames") {
      // What a network hands over may end anywhere; only whole lines are shown.
      const lines = (this.#rest + text).split("\n");
      this.#rest = lines.pop();
      for (const line of lines)
        this.#add(/^(:|\w*)/.exec(line)[0] === ":" ? "comment" : line.split(":", 1)[0] || "blank", line);
    } else {
      const arrow = { request: "→ ", head: "← ", end: "■ " }[kind];
      for (const line of text.split("\n")) this.#add(kind, arrow + line);
    }
    while (list.childElementCount > keptLines) list.firstElementChild.remove();
  }

  #add(kind, text) {
    const line = document.createElement("span");
    line.className = `line ${kind}`;
    line.textContent = `${text}\n`;
    this.#list.append(line);
  }
}
