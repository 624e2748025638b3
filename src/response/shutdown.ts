import type { Server } from "node:net";
import type { Socket } from "node:net";
import { every } from "./metronome.js";

/** How often a server that has open streams is looked at. It tells nobody that it closes: Node has no event for it. */
const lookInterval = 250;

/** Whoever waits for one server or one signal: one look, one listener, however many streams. */
class Bell {
  readonly #waiting = new Set<() => void>();
  readonly #attach: (ring: () => void) => () => void;
  #detach: (() => void) | undefined;

  constructor(attach: (ring: () => void) => () => void) {
    this.#attach = attach;
  }

  wait(called: () => void): () => void {
    this.#waiting.add(called);
    this.#detach ??= this.#attach(this.#ring);
    return () => {
      if (this.#waiting.delete(called) && this.#waiting.size === 0) this.#release();
    };
  }

  readonly #ring = (): void => {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    this.#release();
    for (const called of waiting) called();
  };

  #release(): void {
    this.#detach?.();
    this.#detach = undefined;
  }
}

const bells = new WeakMap<object, Bell>();

function bellOf(owner: object, attach: (ring: () => void) => () => void): Bell {
  let bell = bells.get(owner);
  if (bell === undefined) bells.set(owner, (bell = new Bell(attach)));
  return bell;
}

/** Calls `closing` when `server` has begun to close, unless the function it returns is called before. */
export function onServerClosing(server: Server, closing: () => void): () => void {
  return bellOf(server, (ring) =>
    every(lookInterval, () => {
      if (!server.listening) ring();
    }),
  ).wait(closing);
}

/** Calls `aborted` when `signal` aborts, unless the function it returns is called before. */
export function onAborted(signal: AbortSignal, aborted: () => void): () => void {
  return bellOf(signal, (ring) => {
    signal.addEventListener("abort", ring, { once: true });
    return () => signal.removeEventListener("abort", ring);
  }).wait(aborted);
}

/** A socket as Node's servers leave it: `server` names the HTTP server, `_server` the one that accepted the connection. */
type ServedSocket = Socket & { server?: Server; _server?: Server | null; _parent?: ServedSocket | null };

/**
 * The server that accepted this connection, and so the one whose `close()` waits for it. Where
 * connections are handed to an HTTP server that does not listen itself, there is none.
 */
export function listeningServer(socket: Socket): Server | undefined {
  const { server, _server, _parent } = socket as ServedSocket;
  if (server === undefined) return undefined;
  const accepted = _server === server || _parent?._server === server;
  return accepted || server.listening ? server : undefined;
}
