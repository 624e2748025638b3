import type { Tail } from "./tail.js";

/**
 * A lease is checked at a random time up to this many milliseconds after its end, so that not all processes check at
 * once.
 */
const spread = 300;
/** The pause before the next try when Redis does not answer, in milliseconds. */
const retry = 500;

/**
 * Watches the leases of the producers whose channels have subscriptions in this process. When one runs out, it has
 * Redis record that the producer is lost.
 */
export class LeaseWatch {
  readonly #expire: (key: string) => Promise<number | undefined>;
  readonly #timers = new Map<Tail, NodeJS.Timeout>();

  /** @param expire records an expired lease as lost; resolves with the milliseconds that a valid one still lasts */
  constructor(expire: (key: string) => Promise<number | undefined>) {
    this.#expire = expire;
  }

  mind(tail: Tail, rest: number): void {
    clearTimeout(this.#timers.get(tail));
    const delay = Math.min(Math.max(rest, 0) + Math.random() * spread, 2 ** 31 - 1);
    this.#timers.set(tail, setTimeout(() => void this.#look(tail), delay).unref());
  }

  async #look(tail: Tail): Promise<void> {
    const rest = await this.#expire(tail.key).catch(() => retry);
    if (!this.#timers.has(tail)) return;
    if (rest === undefined) this.#timers.delete(tail);
    else this.mind(tail, rest);
  }

  forget(tail: Tail): void {
    clearTimeout(this.#timers.get(tail));
    this.#timers.delete(tail);
  }

  close(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }
}
