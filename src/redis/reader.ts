import { setTimeout as sleep } from "node:timers/promises";
import type { EventStreamError } from "../errors.js";
import { backOff } from "./backoff.js";
import { isFinal, type RedisClient } from "./client.js";
import { Connection } from "./connection.js";
import { before, compareIds, isBefore, type RawEntry, readEntry, timeOf } from "./entry.js";
import type { Store } from "./store.js";
import type { Tail } from "./tail.js";

/** The entries by key: pairs in RESP 2, a map in RESP 3, `null` where nothing is new. */
type Streams = Iterable<readonly [key: string, entries: RawEntry[]]> | null;

/** How long Redis holds a read back when nothing is new, in milliseconds: how often an idle process asks. */
const block = 10_000;

/** How much later than that the reply may come, before the connection is given up. */
const patience = 5000;

/** How many entries of each channel one reply may bring. */
const batchSize = 256;

/**
 * Each read names all the channels again. With very many of them it pauses in between, one millisecond for so many, so
 * that a busy channel does not make every event cost as much as all the others together.
 */
const channelsPerPause = 200;

/**
 * Reads the channels that have subscriptions in this process, all with one connection, and feeds their tails.
 *
 * It makes a new connection whenever the one it has fails, and goes on where each tail is.
 */
export class Reader {
  readonly #client: RedisClient;
  readonly #store: Store;
  readonly #timeout: number;
  readonly #tails = new Map<string, Tail>();
  readonly #closing = new AbortController();
  #connection: Connection | undefined;
  #isRunning = false;
  /** Whether a read waits in Redis, or is on its way there. */
  #isReading = false;
  /** Whether a channel has come that the read under way does not name. */
  #isOutdated = false;
  #isInterrupting = false;

  constructor(client: RedisClient, store: Store, timeout: number) {
    this.#client = client;
    this.#store = store;
    this.#timeout = timeout;
  }

  find(key: string): Tail | undefined {
    return this.#tails.get(key);
  }

  add(tail: Tail): void {
    this.#tails.set(tail.key, tail);
    this.#isOutdated = true;
    if (!this.#isRunning) void this.#run();
    else if (this.#isReading && !this.#isInterrupting) void this.#interrupt();
  }

  delete(tail: Tail): void {
    if (this.#tails.get(tail.key) === tail) this.#tails.delete(tail.key);
  }

  close(): void {
    this.#closing.abort();
    this.#disconnect();
    for (const tail of this.#tails.values()) tail.wake();
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    const { signal } = this.#closing;
    for (let failures = 0; this.#tails.size > 0 && !signal.aborted;) {
      try {
        if (this.#connection?.isOpen !== true) this.#connection = await Connection.open(this.#client, this.#timeout);
        // It may have been closed in the meantime.
        signal.throwIfAborted();
        await this.#resume(this.#connection);
        await this.#read(this.#connection);
        failures = 0;
        if (this.#tails.size > channelsPerPause)
          await sleep(this.#tails.size / channelsPerPause, undefined, { signal });
      } catch (error) {
        this.#disconnect();
        if (!signal.aborted) await this.#recover(error as EventStreamError, failures++);
      }
    }
    this.#isRunning = false;
  }

  async #recover(error: EventStreamError, failures: number): Promise<void> {
    for (const tail of this.#tails.values()) {
      tail.confirmed = -Infinity;
      if (isFinal(error)) this.#fail(tail, error);
    }
    if (error.code === "ERR_FOREIGN_ENTRY") await this.#evict(error).catch(() => {});
    await backOff(failures, this.#closing.signal);
  }

  /** After a new connection: Redis may be another one by now, and hold less. */
  async #resume(connection: Connection): Promise<void> {
    const unsure = [...this.#tails.values()].filter((tail) => tail.confirmed === -Infinity);
    if (unsure.length === 0) return;
    const newest = unsure.map((tail) => connection.ask(this.#timeout, ["XREVRANGE", tail.key, "+", "-", "COUNT", "1"]));
    const clock = connection.ask(this.#timeout, ["TIME"]);
    const replies = (await Promise.all(newest)) as RawEntry[][];
    const now = Number(((await clock) as [seconds: string, microseconds: string])[0]) * 1_000;
    for (const [index, tail] of unsure.entries()) {
      // Where the key is gone too, a clock that is behind would give new entries IDs from before.
      const last = replies[index]?.[0]?.[0] ?? (now <= timeOf(tail.last) - 1_000 ? before(now) : tail.last);
      if (compareIds(last, tail.last) >= 0) continue;
      const isOlder = isBefore(last) || compareIds(last, tail.floor) <= 0;
      tail.rewind(isOlder ? last : await this.#lastShared(connection, tail));
    }
  }

  /** The newest entry that Redis still has and that has been read here: what comes after it there is new. */
  async #lastShared(connection: Connection, tail: Tail): Promise<string> {
    for (let end = "+"; ;) {
      const page = (await connection.ask(this.#timeout, [
        "XREVRANGE",
        tail.key,
        end,
        `(${tail.floor}`,
        "COUNT",
        String(batchSize),
      ])) as RawEntry[];
      const shared = page.find(([id]) => tail.has(id));
      if (shared !== undefined) return shared[0];
      const oldest = page.at(-1);
      if (oldest === undefined) return tail.floor;
      end = `(${oldest[0]}`;
    }
  }

  async #read(connection: Connection): Promise<void> {
    const tails = [...this.#tails.values()];
    const sent = performance.now();
    this.#isOutdated = false;
    this.#isReading = true;
    try {
      const command = [
        "XREAD",
        "COUNT",
        String(batchSize),
        "BLOCK",
        String(block),
        "STREAMS",
        ...tails.map(({ key }) => key),
        ...tails.map(({ last }) => last),
      ];
      const streams = new Map((await connection.ask(block + patience, command)) as Streams);
      for (const tail of tails) {
        const entries = streams.get(tail.key);
        if (entries !== undefined) this.#feed(tail, entries);
        tail.confirmed = sent;
      }
    } finally {
      this.#isReading = false;
    }
  }

  #feed(tail: Tail, entries: readonly RawEntry[]): void {
    try {
      for (const raw of entries) {
        const entry = readEntry(tail.key, raw);
        tail.append(entry);
        // Who subscribes from now on asks Redis: it may have forgotten the channel, and begun it anew.
        if (entry.event === undefined) this.delete(tail);
      }
      tail.wake();
    } catch (error) {
      this.#fail(tail, error as Error);
    }
  }

  #fail(tail: Tail, error: Error): void {
    this.delete(tail);
    tail.fail(error);
  }

  /** A key of another type fails the whole read: finds it, and leaves it out. */
  async #evict(error: EventStreamError): Promise<void> {
    for (const tail of [...this.#tails.values()]) {
      const type = await this.#store.ask(["TYPE", tail.key]);
      if (type !== "stream" && type !== "none") this.#fail(tail, error);
    }
  }

  /**
   * Ends the read under way, so that the next one names the new channels too. It may not have reached Redis
   * yet, or be over already: asks again until the next one has begun.
   */
  async #interrupt(): Promise<void> {
    this.#isInterrupting = true;
    try {
      for (
        let wait = 1;
        this.#isOutdated && this.#isReading && this.#connection !== undefined;
        wait = Math.min(2 * wait, 100)
      ) {
        await this.#store.ask(["CLIENT", "UNBLOCK", this.#connection.id]);
        if (this.#isOutdated) await sleep(wait, undefined, { signal: this.#closing.signal });
      }
    } catch {
      // Not allowed to this user, or Redis is away: a new connection does it too.
      this.#disconnect();
    } finally {
      this.#isInterrupting = false;
    }
  }

  #disconnect(): void {
    this.#connection?.destroy();
    this.#connection = undefined;
  }
}
