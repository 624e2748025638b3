import { createHash } from "node:crypto";
import { storedName } from "./sql.js";
import type { Tail } from "./tail.js";

/** A channel's key in notifications, as `key(name)` in the schema makes it. */
export function keyOf(channel: string): string {
  return createHash("sha256").update(storedName(channel)).digest("hex").slice(0, 16);
}

/** The tails of this process, by the names and by the keys of their channels. */
export class TailIndex {
  /** The tails whose channel has a producer: its lease may run out. */
  readonly produced: Set<Tail> = new Set();
  readonly #byName = new Map<string, Tail>();
  readonly #byKey = new Map<string, Tail>();

  get size(): number {
    return this.#byName.size;
  }

  find(channel: string): Tail | undefined {
    return this.#byName.get(channel);
  }

  findByKey(key: string): Tail | undefined {
    return this.#byKey.get(key);
  }

  add(tail: Tail): void {
    this.#byName.set(tail.channel, tail);
    this.#byKey.set(keyOf(tail.channel), tail);
  }

  /**
   * Makes later subscriptions get another tail. This one is read only if its own subscriptions ask for it. Leaves
   * another tail of the same channel alone.
   */
  delete(tail: Tail): void {
    this.produced.delete(tail);
    if (this.#byName.get(tail.channel) !== tail) return;
    this.#byName.delete(tail.channel);
    this.#byKey.delete(keyOf(tail.channel));
  }

  [Symbol.iterator](): IterableIterator<Tail> {
    return this.#byName.values();
  }
}
