import type { EventStreamError } from "../errors.js";
import { Bells } from "./bells.js";
import type { Redis } from "./client.js";
import type { CursorStart, Tails } from "./cursor.js";
import { LeaseWatch } from "./lease-watch.js";
import { compareIds, isNext, origin, type Position } from "./entry.js";
import { deniedBell, unavailable } from "./failure.js";
import { entryOf, readMessage } from "./message.js";
import type { Store } from "./store.js";
import { Tail } from "./tail.js";
import { type TailOwner, TailReader } from "./tail-reader.js";

/**
 * The audit compares all tails with their streams, over and over. A round takes at most this many milliseconds, and is
 * divided into this many steps.
 */
const longestAudit = 30_000;
const auditSteps = 50;

/** The pause before the broker subscribes again to a key whose slot has moved, in milliseconds. */
const moving = 200;

export interface Listening {
  readonly prefix: string;
  readonly isSharded: boolean;
  readonly timeout: number;
}

/**
 * Keeps the tails up to date: one for each channel that has a subscription in this process.
 *
 * A message names the new entry and its predecessor, and contains the entry unless it is too long. If the predecessor
 * is the tail's last entry, the tail appends the new one. Otherwise, the follower reads the stream, unless the tail has
 * had the entry already. So lost, repeated and reordered messages do no harm.
 */
export class Follower implements Tails, TailOwner {
  readonly #store: Store;
  readonly #redis: Redis;
  readonly #listening: Listening;
  readonly #bells: Bells;
  readonly #tails = new Map<string, Tail>();
  readonly #closing = new AbortController();
  readonly #reader: TailReader;
  readonly #leaseWatch: LeaseWatch;
  /** The calls of `probe` that are waiting for an answer, by key. */
  readonly #probes = new Map<string, { resolve: () => void; reject: (error: EventStreamError) => void }[]>();
  readonly #audit: NodeJS.Timeout;
  #round: Iterator<Tail, undefined> = [].values();
  #database = 0;

  constructor(redis: Redis, store: Store, listening: Listening, expire: (key: string) => Promise<number | undefined>) {
    this.#leaseWatch = new LeaseWatch(expire);
    this.#redis = redis;
    this.#store = store;
    this.#listening = listening;
    this.#bells = new Bells(redis, listening.isSharded, listening.timeout, {
      onMessage: (key, message) => this.#onMessage(key, message),
      onHearing: (keys) => this.#onHearing(keys),
      onMoved: (keys) => setTimeout(() => this.#onMoved(keys), moving).unref(),
      onDenied: (key, error) => this.#onDenied(key, error),
    });
    this.#reader = new TailReader(store, this, this.#closing.signal);
    const audit = Math.min(store.history.maxAge / 2, longestAudit);
    this.#audit = setInterval(() => this.#auditSome(), Math.max(audit / auditSteps, 10)).unref();
  }

  find(key: string): Tail | undefined {
    return this.#tails.get(key);
  }

  acquire(start: CursorStart): Tail {
    const { key, last, lease } = start;
    let tail = this.#tails.get(key);
    if (tail === undefined) {
      tail = new Tail(this.#store, key, last);
      this.#tails.set(key, tail);
      this.#bells.add(key);
      // Redis may have forgotten the producer by the time of the first check.
      if (lease !== undefined && !this.isStale(start)) this.onLease(tail, lease);
    }
    return tail;
  }

  release(tail: Tail): void {
    if (tail.subscriptions === 0) this.#delete(tail);
  }

  follows(after: string, position: Position, id: string): boolean {
    return isNext(after, position, id, this.#store.timeToLive);
  }

  isStale({ at }: CursorStart): boolean {
    return performance.now() - at > this.#store.history.maxAge;
  }

  /**
   * Resolves if this user may subscribe to the key.
   *
   * @throws {EventStreamError} (as a rejection) `ERR_BROKER_UNAVAILABLE`
   */
  async probe(key: string): Promise<void> {
    this.#database = await this.#redis.database();
    if (this.#closing.signal.aborted) throw closed();
    await new Promise<void>((resolve, reject) => {
      const probes = this.#probes.get(key);
      if (probes === undefined) this.#probes.set(key, [{ resolve, reject }]);
      else probes.push({ resolve, reject });
      this.#bells.add(key);
    });
  }

  #settle(key: string, error?: EventStreamError): void {
    for (const { resolve, reject } of this.#probes.get(key) ?? []) {
      if (error === undefined) resolve();
      else reject(error);
    }
    this.#probes.delete(key);
  }

  #onHearing(keys: readonly string[]): void {
    for (const key of keys) {
      this.#settle(key);
      if (!this.#tails.has(key)) this.#bells.delete(key);
    }
    this.#checkAll(keys);
  }

  #checkAll(keys: readonly string[]): void {
    for (const key of keys) {
      const tail = this.#tails.get(key);
      if (tail !== undefined) this.#reader.check(tail);
    }
  }

  /** Tries again after a question about each key, from which the client learns of the new master. */
  #onMoved(keys: readonly string[]): void {
    for (const key of keys) {
      if (!this.#probes.has(key)) continue;
      this.#store.check([{ key, last: origin }]).then(
        () => this.#bells.add(key),
        (error: EventStreamError) => this.#settle(key, error),
      );
    }
    this.#checkAll(keys);
  }

  #onDenied(key: string, error: EventStreamError): void {
    const { isSharded, prefix } = this.#listening;
    const denied = deniedBell(isSharded ? "SSUBSCRIBE" : "SUBSCRIBE", prefix, error.cause);
    this.#settle(key, denied);
    const tail = this.#tails.get(key);
    if (tail !== undefined) this.onFailure(tail, denied);
  }

  #onMessage(key: string, text: string): void {
    const tail = this.#tails.get(key);
    if (tail === undefined || text === "") return;
    const message = readMessage(text);
    if (message !== undefined) {
      if (message.database !== this.#database) return;
      if (message.after === tail.last && message.fields !== "") {
        try {
          this.#reader.append(tail, [entryOf(key, message)]);
          return;
        } catch {
          // The fields are not ours: read the stream.
        }
      } else if (compareIds(message.id, tail.last) <= 0) {
        // An ID that is not newer is no proof that the tail has the entry: after a loss, new entries may have older IDs
        // than the entries that were lost.
        if (compareIds(message.id, tail.floor) <= 0 || tail.has(message.id)) return;
      }
    }
    this.#reader.read(tail);
  }

  #auditSome(): void {
    // Frees what the map held: its iterator retains that even after the map was emptied, until the next call of `next`.
    if (this.#tails.size === 0) this.#round = [].values();
    for (let left = Math.ceil(this.#tails.size / auditSteps); left > 0; left--) {
      const { value } = this.#round.next();
      if (value === undefined) {
        this.#round = this.#tails.values();
        return;
      }
      this.#reader.check(value);
    }
  }

  has(tail: Tail): boolean {
    return this.#tails.get(tail.key) === tail;
  }

  /** If the key's slot has moved, subscribes on its new master. */
  onChecked(tail: Tail): void {
    if (this.#listening.isSharded && this.has(tail)) this.#bells.add(tail.key);
  }

  onLease(tail: Tail, rest: number): void {
    this.#leaseWatch.mind(tail, rest);
  }

  /** Drops the tail, so that later subscriptions ask Redis: by then, the channel may have expired and begun anew. */
  onEnd(tail: Tail): void {
    this.#delete(tail);
  }

  onFailure(tail: Tail, error: Error): void {
    this.#delete(tail);
    tail.fail(error);
  }

  #delete(tail: Tail): void {
    if (!this.has(tail)) return;
    this.#tails.delete(tail.key);
    this.#reader.forget(tail);
    this.#leaseWatch.forget(tail);
    this.#bells.delete(tail.key);
  }

  /** Stops following, and wakes every subscription so that it ends. */
  close(): void {
    this.#closing.abort();
    clearInterval(this.#audit);
    this.#bells.close();
    this.#leaseWatch.close();
    for (const tail of this.#tails.values()) tail.wake();
    for (const key of [...this.#probes.keys()]) this.#settle(key, closed());
  }
}

function closed(): EventStreamError {
  return unavailable("The broker has been closed.");
}
