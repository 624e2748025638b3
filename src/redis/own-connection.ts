import type { EventStreamError } from "../errors.js";
import type { Connection, ConnectionEvents, Master } from "./client.js";
import { unanswered, unavailable, withTimeout } from "./failure.js";

/**
 * The most commands that `send` has under way at once. On a slow link, the others wait here, where they can be rejected
 * when the connection closes.
 */
const mostUnderWay = 16;

interface Waiting {
  readonly args: readonly string[];
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** What an `OwnConnection` reports. */
export interface OwnConnectionEvents extends Pick<ConnectionEvents, "onMessage"> {
  /** @param wasSilent whether it was closed because Redis owed a reply for too long */
  readonly onClose: (wasSilent: boolean) => void;
}

/**
 * A connection that the broker opened and watches. It is closed when Redis owes replies and sends none for `patience`
 * milliseconds. Any reply restarts that time, so that a slow link is not mistaken for a dead one.
 */
export class OwnConnection {
  readonly #connection: Connection;
  readonly #patience: number;
  readonly #onClose: OwnConnectionEvents["onClose"];
  readonly #waiting: Waiting[] = [];
  /** Functions that reject the commands under way. */
  readonly #pending = new Set<(error: EventStreamError) => void>();
  #underWay = 0;
  #timer: NodeJS.Timeout | undefined;
  #state: "open" | "closed" = "open";

  private constructor(connection: Connection, patience: number, onClose: OwnConnectionEvents["onClose"]) {
    this.#connection = connection;
    this.#patience = patience;
    this.#onClose = onClose;
  }

  /**
   * @param patience how long it waits for the next reply, in milliseconds
   * @throws {EventStreamError} (as a rejection) `ERR_BROKER_UNAVAILABLE`
   */
  static async open(
    master: Master,
    timeout: number,
    patience: number,
    { onMessage, onClose }: OwnConnectionEvents,
  ): Promise<OwnConnection> {
    let own: OwnConnection | undefined;
    const givingUp = new AbortController();
    const opening = master.open({ onMessage, onClose: () => own?.close() }, givingUp.signal);
    try {
      own = new OwnConnection(await withTimeout(timeout, opening), patience, onClose);
      return own;
    } catch (error) {
      // The connection may still be opening.
      givingUp.abort();
      throw error;
    }
  }

  send(args: readonly string[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#state === "closed") return void reject(lost());
      this.#waiting.push({ args, resolve, reject });
      this.#next();
    });
  }

  subscribe(isSharded: boolean, channels: readonly string[]): Promise<unknown> {
    return this.#watch(() => this.#connection.subscribe(isSharded, channels));
  }

  unsubscribe(isSharded: boolean, channels: readonly string[]): Promise<unknown> {
    return this.#watch(() => this.#connection.unsubscribe(isSharded, channels));
  }

  #next(): void {
    while (this.#underWay < mostUnderWay) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#watch(() => this.#connection.send(next.args)).then(next.resolve, next.reject);
    }
  }

  /** The promise settles when the connection closes, at the latest. */
  #watch(send: () => Promise<unknown>): Promise<unknown> {
    if (this.#state === "closed") return Promise.reject(lost());
    this.#underWay++;
    this.#timer ??= this.#wait();
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        this.#pending.delete(reject);
        this.#underWay--;
        clearTimeout(this.#timer);
        this.#timer = this.#underWay > 0 && this.#state === "open" ? this.#wait() : undefined;
        this.#next();
      };
      this.#pending.add(reject);
      send().then(
        (reply) => {
          settle();
          resolve(reply);
        },
        (error: Error) => {
          settle();
          reject(error);
        },
      );
    });
  }

  #wait(): NodeJS.Timeout {
    return setTimeout(() => this.#close(unanswered(this.#patience), true), this.#patience).unref();
  }

  close(): void {
    this.#close(lost(), false);
  }

  #close(error: EventStreamError, wasSilent: boolean): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    clearTimeout(this.#timer);
    this.#connection.destroy();
    for (const reject of this.#pending) reject(error);
    for (const { reject } of this.#waiting.splice(0)) reject(error);
    this.#onClose(wasSilent);
  }
}

function lost(): EventStreamError {
  return unavailable("The connection to Redis was lost.");
}
