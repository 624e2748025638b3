import type { Server, Socket } from "node:net";
import type { StreamEvents } from "../response/stream-events.js";
import { LazySignal } from "../runtime/lazy-signal.js";
import { Timer } from "../runtime/clock.js";
import { type Beat, every, type Ticker } from "../runtime/shared-interval.js";
import { forEachInTurn, whenTurnComes } from "../runtime/turn.js";

/**
 * Milliseconds that a client has, at the end of a shutdown, to take what is left for it. `server.close()` may take one
 * second longer than the grace period, so this and `lookInterval` together must stay below a second.
 */
const cutAfter = 500;

/** Milliseconds between checks of whether a server with open streams has begun to close. Node has no event for it. */
const lookInterval = 250;

/** A stream that waits for its shutdown to begin. */
interface Listener {
  begin(): void;
}

/** Tells streams that a shutdown has begun. All that wait for one server share a timer; for one signal, a listener. */
abstract class ShutdownNotifier {
  readonly #waiting = new Set<Listener>();

  /** Whether the shutdown has begun, even if no stream has been notified yet. */
  abstract readonly hasBegun: boolean;
  protected abstract watch(): void;
  protected abstract release(): void;

  add(listener: Listener): void {
    this.#waiting.add(listener);
    if (this.#waiting.size === 1) this.watch();
  }

  remove(listener: Listener): void {
    if (this.#waiting.delete(listener) && this.#waiting.size === 0) this.release();
  }

  protected notify(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    this.release();
    // Thousands of streams that all end in one turn would block the loop for seconds.
    forEachInTurn(waiting, (listener) => listener.begin());
  }
}

/** Node gives a server a new `_handle` each time that it begins to listen. */
type ListeningServer = Server & { readonly _handle?: object | null };

/** Identifies one period of listening: a server that closes and listens again has a new one. */
function listeningOf(server: ListeningServer): object {
  return server._handle ?? server;
}

/** Notifies when the server has begun to close, even if it listens again by the next check. */
class ServerNotifier extends ShutdownNotifier implements Ticker {
  readonly #server: Server;
  readonly #listening: object;
  #beat: Beat | undefined;

  constructor(server: Server) {
    super();
    this.#server = server;
    this.#listening = listeningOf(server);
  }

  get hasBegun(): boolean {
    return !this.#server.listening || listeningOf(this.#server) !== this.#listening;
  }

  protected watch(): void {
    this.#beat = every(lookInterval, this);
  }

  protected release(): void {
    this.#beat?.stop();
  }

  tick(): void {
    if (this.hasBegun) this.notify();
  }
}

/** Notifies when the signal aborts. */
class SignalNotifier extends ShutdownNotifier {
  readonly #signal: AbortSignal;

  constructor(signal: AbortSignal) {
    super();
    this.#signal = signal;
  }

  get hasBegun(): boolean {
    return this.#signal.aborted;
  }

  protected watch(): void {
    this.#signal.addEventListener("abort", this, { once: true });
  }

  protected release(): void {
    this.#signal.removeEventListener("abort", this);
  }

  handleEvent(): void {
    this.notify();
  }
}

const servers = new WeakMap<object, ServerNotifier>();
const signals = new WeakMap<AbortSignal, SignalNotifier>();

function serverNotifier(server: Server): ServerNotifier {
  const listening = listeningOf(server);
  let notifier = servers.get(listening);
  if (notifier === undefined) servers.set(listening, (notifier = new ServerNotifier(server)));
  return notifier;
}

function signalNotifier(signal: AbortSignal): SignalNotifier {
  let notifier = signals.get(signal);
  if (notifier === undefined) signals.set(signal, (notifier = new SignalNotifier(signal)));
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
export class Shutdown extends LazySignal implements Listener {
  readonly #server: ShutdownNotifier | undefined;
  readonly #signal: ShutdownNotifier | undefined;
  readonly #gracePeriod: number;
  readonly #events: StreamEvents;
  #timer: Timer | undefined;
  /** A call that waits for its turn of the event loop may come after the release; it must then do nothing. */
  #isReleased = false;

  constructor(socket: Socket, settings: ShutdownSettings, events: StreamEvents) {
    super();
    const server = settings.endOnServerClose ? listeningServer(socket) : undefined;
    this.#server = server && serverNotifier(server);
    this.#signal = settings.shutdownSignal && signalNotifier(settings.shutdownSignal);
    this.#gracePeriod = settings.shutdownGracePeriod;
    this.#events = events;
  }

  /** Whether the shutdown has begun, even if the server has not been checked since. */
  get hasBegun(): boolean {
    return this.aborted || this.#signal?.hasBegun === true || this.#server?.hasBegun === true;
  }

  /** Begins to wait for the shutdown. */
  wait(): void {
    this.#server?.add(this);
    this.#signal?.add(this);
  }

  /** Stops waiting, and stops the timer. */
  release(): void {
    this.#isReleased = true;
    this.#server?.remove(this);
    this.#signal?.remove(this);
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
