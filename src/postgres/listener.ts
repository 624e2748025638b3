import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { EventStreamError } from "../errors.js";
import { backOff } from "../runtime/backoff.js";
import { announce } from "../runtime/diagnostics.js";
import { type Database, type ListeningConnection, type Runner } from "./database.js";
import { Deadline } from "./deadline.js";
import { literal } from "./sql.js";

/** What a `Listener` reports. */
export interface ListenerEvents {
  onNotification(payload: string): void;
  /**
   * Notifications may have been missed, because the connection has just been made or lost. Also called when an untested
   * connection takes over the queries.
   */
  onChange(): void;
}

/**
 * Holds the one connection that listens. A connection counts as listening only after it has received a test
 * notification that was sent through the pool. (Through PgBouncer in transaction mode LISTEN succeeds, but no
 * notification ever arrives.)
 */
export class Listener {
  readonly #database: Database;
  readonly #bell: string | undefined;
  readonly #timeout: number;
  readonly #pause: number;
  readonly #events: ListenerEvents;
  #connection: ListeningConnection | undefined;
  /** A connection that already runs queries, but waits for its test because the pool cannot send the notification. */
  #untested: ListeningConnection | undefined;
  /** Aborts the attempts to make a connection. */
  #connecting: AbortController | undefined;
  /** Settles when the last attempts to make a connection are over. */
  #attempts: Promise<void> = Promise.resolve();
  #isDeafReported = false;

  /**
   * @param bell the name to listen to; if it is `undefined`, the listener never connects
   * @param pause how long to wait between two attempts while no test notification arrives, in milliseconds
   */
  constructor(database: Database, bell: string | undefined, timeout: number, pause: number, events: ListenerEvents) {
    this.#database = database;
    this.#bell = bell;
    this.#timeout = timeout;
    this.#pause = pause;
    this.#events = events;
  }

  get isListening(): boolean {
    return this.#connection !== undefined;
  }

  /**
   * Runs the queries: the listening connection, so that the pool is left to the application, or else the pool. Reading
   * this property starts the attempts to connect.
   */
  get runner(): Runner {
    if (this.#connection !== undefined) return this.#connection;
    if (this.#bell !== undefined && this.#connecting === undefined) {
      this.#connecting = new AbortController();
      this.#attempts = this.#connect(this.#bell, this.#connecting.signal);
    }
    return this.#untested ?? this.#database;
  }

  /** Tries until there is a connection. */
  async #connect(bell: string, signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted; failures++) {
      try {
        const connection = await this.#listen(bell, signal);
        if (signal.aborted) return await connection.close();
        this.#connecting = undefined;
        this.#connection = connection;
        void connection.lost.then(() => this.#onLost(connection));
        return this.#events.onChange();
      } catch (error) {
        if (!isDeaf(error)) await backOff(failures, signal);
        else if (!signal.aborted) {
          if (!this.#isDeafReported && !announce("error", { error })) process.emitWarning(error);
          this.#isDeafReported = true;
          await sleep(this.#pause, undefined, { signal, ref: false }).catch(() => {});
        }
      }
    }
  }

  async #listen(bell: string, signal: AbortSignal): Promise<ListeningConnection> {
    const nonce = randomUUID();
    let onHeard = (): void => {};
    const heard = new Promise<void>((resolve) => (onHeard = resolve));
    const onNotification = (payload: string): void => {
      if (payload === nonce) onHeard();
      else this.#events.onNotification(payload);
    };
    const connection = await this.#database.listen(bell, onNotification, this.#timeout);
    let isLost = false;
    const lost = connection.lost.then(() => (isLost = true));
    try {
      for (let failures = 0; !(await this.#notify(bell, nonce)); failures++) {
        if (signal.aborted || isLost) throw new Error("The test of the connection was given up.");
        // An exhausted pool must not keep subscriptions waiting.
        this.#untested = connection;
        this.#events.onChange();
        await backOff(failures, signal);
      }
      await this.#deadline()
        .race(Promise.race([heard, lost]))
        .catch(async () => {
          // PgBouncer gives the server connection to other clients, which would receive the notifications.
          await connection.run([`UNLISTEN ${bell}`], this.#deadline());
          throw deaf();
        });
      return connection;
    } catch (error) {
      await connection.close();
      throw error;
    } finally {
      if (this.#untested === connection) this.#untested = undefined;
    }
  }

  #deadline(): Deadline {
    return new Deadline(this.#timeout);
  }

  /** Resolves with whether the pool has sent the notification. */
  async #notify(bell: string, payload: string): Promise<boolean> {
    const statement = `SELECT pg_notify(${literal(bell)}, ${literal(payload)})`;
    return this.#database.run([statement], this.#deadline()).then(
      () => true,
      () => false,
    );
  }

  #onLost(connection: ListeningConnection): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    this.#events.onChange();
  }

  /** Called when a query has failed on `runner`: closes the connection if that is the runner. */
  async discard(runner: Runner): Promise<void> {
    if (runner === this.#connection || runner === this.#untested) await this.close();
  }

  /** Closes the connection for good, and waits until one that is just being made is closed too. */
  async end(): Promise<void> {
    await this.close();
    await this.#deadline()
      .race(this.#attempts)
      .catch(() => {});
  }

  /** Closes the connection, or gives up the attempts to make one. The next read of `runner` starts new attempts. */
  async close(): Promise<void> {
    this.#connecting?.abort();
    this.#connecting = undefined;
    this.#untested = undefined;
    const connection = this.#connection;
    this.#connection = undefined;
    await connection?.close();
  }
}

function deaf(): EventStreamError {
  return new EventStreamError(
    "ERR_INVALID_OPTION",
    "LISTEN succeeds, but no notification arrives, so the broker polls. Where the pool goes through PgBouncer in " +
      "transaction mode, give listen: { connectionString } with the address of Postgres itself, or listen: false.",
    { field: "listen" },
  );
}

function isDeaf(error: unknown): error is EventStreamError {
  return error instanceof EventStreamError && error.field === "listen";
}
