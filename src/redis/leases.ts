import type { Tail } from "./tail.js";

/** How long after its end a lease is looked at, at most, in milliseconds: not by all processes at once. */
const spread = 300;
/** How long until it is tried again where Redis does not answer, in milliseconds. */
const retry = 500;

/**
 * Minds the leases of the producers whose channels have subscriptions in this process: where one runs out, somebody has to
 * write down that it is lost.
 */
export class Leases {
  readonly #expire: (key: string) => Promise<number | undefined>;
  readonly #timers = new Map<Tail, NodeJS.Timeout>();

  /** @param expire says for how many milliseconds the lease still lasts, if it does */
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
