import { connect, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** A client that sees the raw bytes, and can stop reading, half-close or reset the connection. */
export class RawClient {
  readonly socket: Socket;
  /** Everything that came, head included, as latin1, so that one character is one byte. */
  received = "";
  /** How much came, head included. */
  bytes = 0;
  #kept = Infinity;
  #isOver = false;
  #look: (() => void) | undefined;

  /** `socket` is for a connection of another kind, such as one over TLS. */
  constructor(port: number, socket: Socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true })) {
    this.socket = socket;
    this.socket.setEncoding("latin1");
    this.socket.on("data", (text: string) => {
      this.bytes += text.length;
      this.received = (this.received + text).slice(-this.#kept);
      this.#look?.();
    });
    const over = () => {
      this.#isOver = true;
      this.#look?.();
    };
    this.socket.on("end", over).on("close", over).on("error", over);
    onTestFinished(destroy(new WeakRef(socket)));
  }

  /** Sends a request with an optional body. */
  request(method: string, path: string, headers: Record<string, string> = {}, body = ""): this {
    const length = body === "" ? {} : { "Content-Length": String(Buffer.byteLength(body)) };
    const lines = Object.entries({ Host: "127.0.0.1", ...length, ...headers }).map(
      ([name, value]) => `${name}: ${value}`,
    );
    this.socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n${body}`);
    return this;
  }

  /** From now on keeps only the end of what comes, for streams that are too long to be searched again and again. */
  forget(): this {
    this.#kept = 1_000;
    return this;
  }

  /** Resolves when what was received contains `text`; rejects if the connection ends before that. */
  until(text: string | RegExp): Promise<string> {
    const isThere = () => (typeof text === "string" ? this.received.includes(text) : text.test(this.received));
    return new Promise((resolve, reject) => {
      this.#look = () => {
        if (isThere()) {
          this.#look = undefined;
          resolve(this.received);
        } else if (this.#isOver)
          reject(new Error(`The connection ended before ${String(text)} came; it brought:\n${this.received}`));
      };
      this.#look();
    });
  }

  /** Resolves with everything that was received, once the server has ended or cut the connection. */
  ended(): Promise<string> {
    return new Promise((resolve) => {
      this.#look = () => {
        if (this.#isOver) resolve(this.received);
      };
      this.#look();
    });
  }

  /** The body without its chunked transfer coding. A last chunk that was cut short is left out. */
  get body(): string {
    let rest = this.received.slice(this.received.indexOf("\r\n\r\n") + 4);
    let body = "";
    for (let match = /^([0-9a-f]+)\r\n/i.exec(rest); match !== null; match = /^([0-9a-f]+)\r\n/i.exec(rest)) {
      const length = Number.parseInt(match[1] as string, 16);
      const start = match[0].length;
      if (length === 0 || rest.length < start + length) break;
      body += rest.slice(start, start + length);
      rest = rest.slice(start + length + 2);
    }
    return Buffer.from(body, "latin1").toString("utf8");
  }
}

/**
 * Holds the socket weakly, and in a scope of its own, so that it can be collected before the test ends: a test may have
 * thousands of clients, one after the other.
 */
function destroy(socket: WeakRef<Socket>): () => void {
  return () => void socket.deref()?.destroy();
}
