import type { EventStreamError } from "../errors.js";
import { backOff } from "../runtime/backoff.js";
import type { Redis } from "./client.js";
import { toBrokerError, isFinal, unavailable } from "./failure.js";
import { OwnConnection } from "./own-connection.js";
import { slotOf } from "./slot.js";

/** The most channels that one update names. */
const batchSize = 1000;

/** The pause between two checks that the connection is alive, in milliseconds. */
const heartbeat = 5000;

export interface BellEvents {
  onMessage(key: string, message: string): void;
  /** From now on every message to these keys arrives; earlier ones may have been missed. */
  onHearing(keys: readonly string[]): void;
  /** Another master has these keys now. The bell has given them up. */
  onMoved(keys: readonly string[]): void;
  /** The Redis user may not subscribe to this key. The bell has given it up. */
  onDenied(key: string, error: EventStreamError): void;
}

/**
 * A connection that receives messages, and the keys that it subscribes to. When the connection fails, the bell opens a
 * new one, as long as there are keys.
 */
export class Bell {
  readonly #redis: Redis;
  readonly #slot: () => number;
  readonly #isSharded: boolean;
  readonly #timeout: number;
  readonly #events: BellEvents;
  readonly #wanted = new Set<string>();
  #heard = new Set<string>();
  /** Keys that may have to be subscribed to or unsubscribed from. */
  #changed = new Set<string>();
  #connection: OwnConnection | undefined;
  #state: "idle" | "working" | "closed" = "idle";
  readonly #closing = new AbortController();
  readonly #heartbeat: NodeJS.Timeout;

  /** @param slot returns a slot of the master to connect to */
  constructor(redis: Redis, slot: () => number, isSharded: boolean, timeout: number, events: BellEvents) {
    this.#redis = redis;
    this.#slot = slot;
    this.#isSharded = isSharded;
    this.#timeout = timeout;
    this.#events = events;
    this.#heartbeat = setInterval(() => this.#beat(), heartbeat).unref();
  }

  get isIdle(): boolean {
    return this.#wanted.size === 0;
  }

  has(key: string): boolean {
    return this.#wanted.has(key);
  }

  add(key: string): void {
    this.#wanted.add(key);
    this.#change(key);
  }

  delete(key: string): void {
    if (this.#wanted.delete(key)) this.#change(key);
  }

  #change(key: string): void {
    this.#changed.add(key);
    this.#begin();
  }

  #begin(): void {
    if (this.#state !== "idle") return;
    this.#state = "working";
    // Changes made in the same turn of the event loop are sent together.
    setImmediate(() => void this.#work());
  }

  async #work(): Promise<void> {
    for (let failures = 0; this.#state === "working";) {
      if (this.#connection === undefined ? this.#wanted.size === 0 : this.#changed.size === 0) break;
      try {
        await this.#update((this.#connection ??= await this.#open()));
        failures = 0;
      } catch {
        this.#connection?.close();
        this.#connection = undefined;
        await backOff(failures++, this.#closing.signal);
      }
    }
    if (this.#state === "working") this.#state = "idle";
  }

  async #open(): Promise<OwnConnection> {
    const master = this.#redis.masterOf(this.#slot());
    if (master === undefined) throw unavailable("The client knows no master.");
    const connection: OwnConnection = await OwnConnection.open(master, this.#timeout, this.#timeout, {
      onMessage: (key, message) => this.#events.onMessage(key, message),
      onClose: () => this.#forget(),
    });
    this.#heard = new Set();
    this.#changed = new Set(this.#wanted);
    if (this.#state === "closed") connection.close();
    return connection;
  }

  #forget(): void {
    this.#connection = undefined;
    if (this.#wanted.size > 0) this.#begin();
  }

  async #update(connection: OwnConnection): Promise<void> {
    const added: string[] = [];
    const deleted: string[] = [];
    /** Keys that were deleted and added again before this update. Messages in between have been ignored. */
    const kept: string[] = [];
    for (const key of this.#changed) {
      if (added.length + deleted.length === batchSize) break;
      this.#changed.delete(key);
      const isWanted = this.#wanted.has(key);
      if (isWanted !== this.#heard.has(key)) (isWanted ? added : deleted).push(key);
      else if (isWanted) kept.push(key);
    }
    if (kept.length > 0) this.#events.onHearing(kept);
    await Promise.all(this.#groups(added).map((keys) => this.#subscribe(connection, keys)));
    await Promise.all(this.#groups(deleted).map((keys) => connection.unsubscribe(this.#isSharded, keys)));
    for (const key of deleted) this.#heard.delete(key);
  }

  async #subscribe(connection: OwnConnection, keys: readonly string[]): Promise<void> {
    try {
      await connection.subscribe(this.#isSharded, keys);
    } catch (error) {
      const failure = toBrokerError(error);
      const hasMoved = error instanceof Error && error.message.startsWith("MOVED ");
      if (!hasMoved && !isFinal(failure)) throw error;
      if (!hasMoved && keys.length > 1) {
        // One key that is denied has Redis refuse the whole command.
        const middle = keys.length >> 1;
        const halves = [keys.slice(0, middle), keys.slice(middle)];
        await Promise.all(halves.map((half) => this.#subscribe(connection, half)));
        return;
      }
      for (const key of keys) this.#wanted.delete(key);
      if (hasMoved) this.#events.onMoved(keys);
      else for (const key of keys) this.#events.onDenied(key, failure);
      return;
    }
    for (const key of keys) this.#heard.add(key);
    this.#events.onHearing(keys);
  }

  /** Groups the keys by command: in a cluster, all sharded channels in a command must be in the same slot. */
  #groups(keys: readonly string[]): string[][] {
    if (keys.length === 0) return [];
    if (!this.#isSharded || !this.#redis.isCluster) return [[...keys]];
    const groups = new Map<number, string[]>();
    for (const key of keys) {
      const slot = slotOf(key);
      const group = groups.get(slot);
      if (group === undefined) groups.set(slot, [key]);
      else group.push(key);
    }
    return [...groups.values()];
  }

  #beat(): void {
    this.#connection?.send(["PING"]).catch(() => {});
  }

  close(): void {
    this.#state = "closed";
    this.#closing.abort();
    clearInterval(this.#heartbeat);
    this.#connection?.close();
  }
}
