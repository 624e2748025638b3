import type { Server, Socket } from "node:net";
import type { StreamEvents } from "../response/stream-events.js";
import { Chain, type Link } from "../runtime/chain.js";
import { LazySignal } from "../runtime/lazy-signal.js";
import { Timer } from "../runtime/clock.js";
import { Ticker } from "../runtime/shared-interval.js";
import { forEachInTurn, whenTurnComes } from "../runtime/turn.js";

/**
 * Milliseconds that a client has, at the end of a shutdown, to take what is left for it. `server.close()` may take one
 * second longer than the grace period, so this and `lookInterval` together must stay below a second.
 */
const cutAfter = 500;

/** Milliseconds between checks of whether a server with open streams has begun to close. Node has no event for it. */
const lookInterval = 250;

/** Node gives a server a new `_handle` each time that it begins to listen. */
type ListeningServer = Server & { readonly _handle?: object | null };

/** Identifies one period of listening: a server that closes and listens again has a new one. */
function listeningOf(server: ListeningServer): object {
  return server._handle ?? server;
}

/**
 * Tells the streams of one server that share a `shutdownSignal`, or have none, that their shutdown has begun. They share
 * one listener on the signal, and one timer that looks whether the server has begun to close.
 */
class ShutdownNotifier extends Ticker {
  readonly #waiting = new Chain<Shutdown>();
  readonly #server: Server | undefined;
  readonly #listening: object | undefined;
  readonly #signal: AbortSignal | undefined;

  constructor(server: Server | undefined, signal: AbortSignal | undefined) {
    super();
    this.#server = server;
    this.#listening = server && listeningOf(server);
    this.#signal = signal;
  }

  /** Whether the shutdown has begun, even if no stream has been notified yet. */
  get hasBegun(): boolean {
    return this.#signal?.aborted === true || this.#isServerClosing;
  }

  /** True even if the server listens again by now. */
  get #isServerClosing(): boolean {
    const server = this.#server;
    return server !== undefined && (!server.listening || listeningOf(server) !== this.#listening);
  }

  add(shutdown: Shutdown): void {
    if (this.#waiting.first === undefined) this.#watch();
    this.#waiting.add(shutdown);
  }

  remove(shutdown: Shutdown): void {
    if (this.#waiting.delete(shutdown) && this.#waiting.first === undefined) this.#release();
  }

  #watch(): void {
    if (this.#server !== undefined) this.startTicking(lookInterval);
    this.#signal?.addEventListener("abort", this, { once: true });
  }

  #release(): void {
    this.stopTicking();
    this.#signal?.removeEventListener("abort", this);
  }

  tick(): void {
    if (this.hasBegun) this.handleEvent();
  }

  /** Called when the signal aborts. */
  handleEvent(): void {
    const waiting = this.#waiting.takeAll();
    this.#release();
    // Thousands of streams that all end in one turn would block the loop for seconds.
    forEachInTurn(waiting, (shutdown) => shutdown.begin());
  }
}

/** Stands for a server or a signal that a stream does not have. */
const none = {};

/** The notifiers by listening server, and then by signal. */
const notifiers = new WeakMap<object, WeakMap<object, ShutdownNotifier>>();

/** @returns `undefined` if nothing can begin a shutdown: a stream that waited for that would be kept in memory */
function notifierOf(server: Server | undefined, signal: AbortSignal | undefined): ShutdownNotifier | undefined {
  if (server === undefined && signal === undefined) return undefined;
  const listening = server === undefined ? none : listeningOf(server);
  let bySignal = notifiers.get(listening);
  if (bySignal === undefined) notifiers.set(listening, (bySignal = new WeakMap<object, ShutdownNotifier>()));
  let notifier = bySignal.get(signal ?? none);
  if (notifier === undefined) bySignal.set(signal ?? none, (notifier = new ShutdownNotifier(server, signal)));
  return notifier;
}

/** A socket of one of Node's servers: `server` is the HTTP server, `_server` the one that accepted the connection. */
type ServedSocket = Socket & { server?: Server; _server?: Server | null; _parent?: ServedSocket | null };

/**
 * The server that accepted this connection, and so the one whose `close()` waits for it. `undefined` if the connection
 * was handed to an HTTP server that does not listen itself.
 */
function listeningServer(socket: Socket | undefined): Server | undefined {
  // Some test doubles have no socket.
  const { server, _server, _parent }: Partial<ServedSocket> = socket ?? {};
  if (server === undefined) return undefined;
  const accepted = _server === server || _parent?._server === server;
  return accepted || server.listening ? server : undefined;
}

/** The options that `Shutdown` uses. */
export interface ShutdownSettings {
  readonly shutdownSignal: AbortSignal | undefined;
  readonly endOnServerClose: boolean;
  readonly shutdownGracePeriod: number;
}

/**
 * The shutdown of one stream. It begins when the server closes or the application's signal aborts. It ends the stream
 * after the grace period, and cuts off a client that does not take the rest in time.
 */
export class Shutdown extends LazySignal implements Link<Shutdown> {
  before: Shutdown | undefined;
  after: Shutdown | undefined;
  readonly #notifier: ShutdownNotifier | undefined;
  readonly #gracePeriod: number;
  readonly #events: StreamEvents;
  #timer: Timer | undefined;
  /** A call that waits for its turn of the event loop may come after the release; it must then do nothing. */
  #isReleased = false;

  constructor(socket: Socket, settings: ShutdownSettings, events: StreamEvents) {
    super();
    const server = settings.endOnServerClose ? listeningServer(socket) : undefined;
    this.#notifier = notifierOf(server, settings.shutdownSignal);
    this.#gracePeriod = settings.shutdownGracePeriod;
    this.#events = events;
  }

  /** Whether the shutdown has begun, even if the server has not been checked since. */
  get hasBegun(): boolean {
    return this.aborted || this.#notifier?.hasBegun === true;
  }

  /** Begins to wait for the shutdown. */
  wait(): void {
    this.#notifier?.add(this);
  }

  /** Stops waiting, and stops the timer. */
  release(): void {
    this.#isReleased = true;
    this.#notifier?.remove(this);
    this.#timer?.stop();
  }

  begin(): void {
    if (this.aborted || this.#isReleased) return;
    this.#events.runInAsyncScope(() => {
      this.abort("shutdown");
      if (this.#gracePeriod === 0) this.#end();
      else this.#timer = new Timer(this.#gracePeriod, () => whenTurnComes(() => this.#end()));
    });
  }

  #end(): void {
    if (this.#isReleased) return;
    this.#timer = new Timer(cutAfter, () => this.#events.onClientLost("shutdown"));
    this.#events.onTimeUp("shutdown");
  }
}
