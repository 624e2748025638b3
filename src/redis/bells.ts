import { Bell, type BellEvents } from "./bell.js";
import type { Redis } from "./client.js";
import { slotOf } from "./slot.js";

const slots = 16_384;

/**
 * The connections on which this process receives messages about new entries. One is enough, because every node of a
 * cluster passes on every message. Sharded messages stay on their shard, so in a cluster they need one connection for
 * each master.
 */
export class Bells {
  readonly #redis: Redis;
  readonly #isSharded: boolean;
  readonly #timeout: number;
  readonly #events: BellEvents;
  readonly #bells = new Map<string, Bell>();
  #isClosed = false;

  constructor(redis: Redis, isSharded: boolean, timeout: number, events: BellEvents) {
    this.#redis = redis;
    this.#isSharded = isSharded;
    this.#timeout = timeout;
    this.#events = events;
  }

  get #isSpread(): boolean {
    return this.#isSharded && this.#redis.isCluster;
  }

  /**
   * Subscribes on the master that has the key now. If the key's slot has moved since an earlier call, the subscription
   * moves too.
   */
  add(key: string): void {
    if (this.#isClosed) return;
    const slot = this.#isSpread ? slotOf(key) : undefined;
    const address = slot === undefined ? "" : (this.#redis.masterOf(slot)?.address ?? "");
    let bell = this.#bells.get(address);
    if (bell === undefined) {
      // A random slot, so that the next try can reach another master when one does not answer.
      const choose = () => slot ?? Math.floor(Math.random() * slots);
      bell = new Bell(this.#redis, choose, this.#isSharded, this.#timeout, this.#events);
      this.#bells.set(address, bell);
    }
    if (bell.has(key)) return;
    for (const [other, former] of this.#bells) {
      former.delete(key);
      if (former === bell || !former.isIdle) continue;
      former.close();
      this.#bells.delete(other);
    }
    bell.add(key);
  }

  delete(key: string): void {
    for (const bell of this.#bells.values()) bell.delete(key);
  }

  close(): void {
    this.#isClosed = true;
    for (const bell of this.#bells.values()) bell.close();
  }
}
