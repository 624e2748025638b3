import { createHash } from "node:crypto";
import { storedName } from "./sql.js";
import type { Tail } from "./tail.js";

/** What a bell names a channel by, as `key(name)` in the schema does. */
export function keyOf(channel: string): string {
  return createHash("sha256").update(storedName(channel)).digest("hex").slice(0, 16);
}

/** The tails of this process, by their channels' names and by what bells call them. */
export class TailIndex {
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

  /** Another tail of the same channel stays. */
  delete(tail: Tail): void {
    if (this.#byName.get(tail.channel) !== tail) return;
    this.#byName.delete(tail.channel);
    this.#byKey.delete(keyOf(tail.channel));
  }

  [Symbol.iterator](): IterableIterator<Tail> {
    return this.#byName.values();
  }
}
