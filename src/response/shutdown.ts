import type { Server, Socket } from "node:net";
import { LazySignal } from "./lazy-signal.js";
import { every } from "./metronome.js";

/** How long a client has, at the end of a shutdown, to take what is left for it: with the look at the server, under a second. */
const cutAfter = 500;

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
function onServerClosing(server: Server, closing: () => void): () => void {
  return bellOf(server, (ring) =>
    every(lookInterval, () => {
      if (!server.listening) ring();
    }),
  ).wait(closing);
}

/** Calls `aborted` when `signal` aborts, unless the function it returns is called before. */
function onAborted(signal: AbortSignal, aborted: () => void): () => void {
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
function listeningServer(socket: Socket): Server | undefined {
  const { server, _server, _parent } = socket as ServedSocket;
  if (server === undefined) return undefined;
  const accepted = _server === server || _parent?._server === server;
  return accepted || server.listening ? server : undefined;
}

/** What `Shutdown` needs to know. */
export interface ShutdownSettings {
  readonly shutdownSignal: AbortSignal | undefined;
  readonly endOnServerClose: boolean;
  readonly shutdownGracePeriod: number;
}

/**
 * The shutdown of one stream: it begins with the server's closing or the application's signal, ends the stream after the
 * grace period, and cuts a client that does not take its end.
 */
export class Shutdown {
  readonly #begun = new LazySignal();
  readonly #server: Server | undefined;
  readonly #settings: ShutdownSettings;
  readonly #end: () => void;
  readonly #cut: () => void;
  #stop: (() => void)[] = [];

  constructor(socket: Socket, settings: ShutdownSettings, end: () => void, cut: () => void) {
    this.#settings = settings;
    this.#server = settings.endOnServerClose ? listeningServer(socket) : undefined;
    this.#end = end;
    this.#cut = cut;
  }

  /** Aborts when the shutdown begins. */
  get signal(): AbortSignal {
    return this.#begun.signal;
  }

  /** Whether it has begun, even if nobody has looked at the server since. */
  get hasBegun(): boolean {
    return this.#begun.aborted || this.#settings.shutdownSignal?.aborted === true || this.#server?.listening === false;
  }

  /** Begins to wait for it. */
  wait(): void {
    const { shutdownSignal } = this.#settings;
    if (this.#server !== undefined) this.#stop.push(onServerClosing(this.#server, this.#begin));
    if (shutdownSignal !== undefined) this.#stop.push(onAborted(shutdownSignal, this.#begin));
  }

  /** Stops waiting for it, whatever it waits for. */
  stop(): void {
    for (const stop of this.#stop.splice(0)) stop();
  }

  readonly #begin = (): void => {
    if (this.#begun.aborted) return;
    this.#begun.abort("shutdown");
    const { shutdownGracePeriod } = this.#settings;
    if (shutdownGracePeriod === 0) this.#finish();
    else this.#after(shutdownGracePeriod, this.#finish);
  };

  readonly #finish = (): void => {
    this.#after(cutAfter, this.#cut);
    this.#end();
  };

  #after(delay: number, callback: () => void): void {
    const timer = setTimeout(callback, delay);
    this.#stop.push(() => clearTimeout(timer));
  }
}
