import { connect, type Socket } from "node:net";
import { tlsConnection } from "../../support/tls.js";
import type { ClientProgram } from "./program.js";

/** The number of bytes after which a client that stalls stops reading. */
const stallsAfter = 200;

/** Acts out a client's program on one connection. */
export class Client {
  readonly socket: Socket;
  readonly #chunks: Buffer[] = [];
  bytes = 0;
  /** Whether the client itself gave up, no matter how. */
  hasLeft = false;
  isOver = false;
  readonly over: Promise<void>;
  /** How many requests the client sends: only one in HTTP/1.0, where a connection carries no more. */
  readonly requests: number;
  readonly #leaving: NodeJS.Timeout | undefined;

  constructor({ version, requests, reads, leaves }: ClientProgram, port: number, isSecure: boolean) {
    this.socket = isSecure ? tlsConnection(port) : connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    this.over = new Promise((resolve) => {
      const over = (): void => {
        this.isOver = true;
        resolve();
      };
      // The server has ended the connection, so what the client has yet to send does not matter.
      this.socket
        .on("end", () => (over(), this.socket.destroy()))
        .on("close", over)
        .on("error", over);
    });
    this.socket.on("data", (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.bytes += chunk.length;
      if (reads === "until it stalls" && this.bytes > stallsAfter) this.socket.pause();
      if (reads === "slowly") {
        this.socket.pause();
        setTimeout(() => this.socket.resume(), 1);
      }
    });
    const body = JSON.stringify({ text: "a request's body" });
    this.requests = version === "1.0" ? 1 : requests.length;
    for (const request of requests.slice(0, this.requests)) {
      const [method = ""] = request.split(" ");
      const headers = ["Host: 127.0.0.1", "Accept-Encoding: gzip"];
      if (method === "POST") headers.push("Content-Type: application/json", `Content-Length: ${body.length}`);
      const path = request === "POST" ? "/parsed" : "/";
      this.socket.write(
        `${method} ${path} HTTP/${version}\r\n${headers.join("\r\n")}\r\n\r\n${method === "POST" ? body : ""}`,
      );
    }
    if (leaves !== undefined) this.#leaving = setTimeout(() => this.leave(leaves.how), leaves.after);
  }

  get received(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  leave(how: "close" | "reset" | "half-close"): void {
    if (this.isOver) return;
    this.hasLeft = true;
    // A TLS socket cannot be reset before its handshake is over, so it is destroyed instead.
    if (how === "half-close") this.socket.end().removeAllListeners("data").resume();
    else if (how === "reset" && !("encrypted" in this.socket)) this.socket.resetAndDestroy();
    else this.socket.destroy();
  }

  /** Cancels a planned leave, and destroys the connection. */
  close(): void {
    clearTimeout(this.#leaving);
    this.socket.destroy();
  }
}
