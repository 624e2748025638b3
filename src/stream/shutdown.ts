import type { Server, Socket } from "node:net";
import { LazySignal } from "../runtime/lazy-signal.js";
import { Timer } from "../runtime/clock.js";
import { type Beat, every, type Ticker } from "../runtime/shared-interval.js";
import { forEachInTurn, whenTurnComes } from "../runtime/turn.js";

/** How long a client has, at the end of a shutdown, to take what is left for it: with the look at the server, under a second. */
const cutAfter = 500;

/** How often a server that has open streams is looked at. It tells nobody that it closes: Node has no event for it. */
const lookInterval = 250;

/** Who hears that a shutdown begins. */
interface Listener {
  begin(): void;
}

/** Whoever waits for one server or one signal: one look, one listener, however many streams. */
abstract class ShutdownNotifier {
  readonly #waiting = new Set<Listener>();

  protected abstract attach(): void;
  protected abstract detach(): void;

  wait(listener: Listener): void {
    this.#waiting.add(listener);
    if (this.#waiting.size === 1) this.attach();
  }

  leave(listener: Listener): void {
    if (this.#waiting.delete(listener) && this.#waiting.size === 0) this.detach();
  }

  protected ring(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    this.detach();
    // Thousands of streams that all end in one turn would block the loop for seconds.
    forEachInTurn(waiting, (listener) => listener.begin());
  }
}

/** Rings when the server has begun to close. */
class ServerNotifier extends ShutdownNotifier implements Ticker {
  readonly #server: Server;
  #beat: Beat | undefined;

  constructor(server: Server) {
    super();
    this.#server = server;
  }

  protected attach(): void {
    this.#beat = every(lookInterval, this);
  }

  protected detach(): void {
    this.#beat?.stop();
  }

  tick(): void {
    if (!this.#server.listening) this.ring();
  }
}

/** Rings when the signal aborts. */
class SignalNotifier extends ShutdownNotifier {
  readonly #signal: AbortSignal;

  constructor(signal: AbortSignal) {
    super();
    this.#signal = signal;
  }

  protected attach(): void {
    this.#signal.addEventListener("abort", this, { once: true });
  }

  protected detach(): void {
    this.#signal.removeEventListener("abort", this);
  }

  handleEvent(): void {
    this.ring();
  }
}

const notifiers = new WeakMap<object, ShutdownNotifier>();

function notifierOf<T extends object>(
  owner: T | undefined,
  Kind: new (owner: T) => ShutdownNotifier,
): ShutdownNotifier | undefined {
  if (owner === undefined) return undefined;
  let bell = notifiers.get(owner);
  if (bell === undefined) notifiers.set(owner, (bell = new Kind(owner)));
  return bell;
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

/** What a shutdown does to its stream. */
export interface ShutdownEvents {
  /** The grace period is over. */
  end(reason: "shutdown"): void;
  /** The client has not taken its end in time. */
  lose(reason: "shutdown"): void;
  /** Does something as part of the stream's own request: who begins a shutdown is no part of it. */
  runInAsyncScope(work: () => void): void;
}

/**
 * The shutdown of one stream: it begins with the server's closing or the application's signal, ends the stream after the
 * grace period, and gives up a client that does not take its end.
 */
export class Shutdown extends LazySignal implements Listener {
  readonly #server: Server | undefined;
  readonly #settings: ShutdownSettings;
  readonly #events: ShutdownEvents;
  #timer: Timer | undefined;
  /** Whether it has been stopped: its turn to begin, or to end, may come after that. */
  #isOver = false;

  constructor(socket: Socket, settings: ShutdownSettings, events: ShutdownEvents) {
    super();
    this.#settings = settings;
    this.#server = settings.endOnServerClose ? listeningServer(socket) : undefined;
    this.#events = events;
  }

  /** Whether it has begun, even if nobody has looked at the server since. */
  get hasBegun(): boolean {
    return this.aborted || this.#settings.shutdownSignal?.aborted === true || this.#server?.listening === false;
  }

  /** Begins to wait for it. */
  wait(): void {
    notifierOf(this.#server, ServerNotifier)?.wait(this);
    notifierOf(this.#settings.shutdownSignal, SignalNotifier)?.wait(this);
  }

  /** Stops waiting for it, whatever it waits for. */
  stop(): void {
    this.#isOver = true;
    notifierOf(this.#server, ServerNotifier)?.leave(this);
    notifierOf(this.#settings.shutdownSignal, SignalNotifier)?.leave(this);
    this.#timer?.stop();
  }

  begin(): void {
    if (this.aborted || this.#isOver) return;
    const { shutdownGracePeriod } = this.#settings;
    this.#events.runInAsyncScope(() => {
      this.abort("shutdown");
      if (shutdownGracePeriod === 0) this.#finish();
      else this.#timer = new Timer(shutdownGracePeriod, () => whenTurnComes(() => this.#finish()));
    });
  }

  #finish(): void {
    if (this.#isOver) return;
    this.#timer = new Timer(cutAfter, () => this.#events.lose("shutdown"));
    this.#events.end("shutdown");
  }
}
