import type { Store } from "./store.js";

/** The longest pause between two sweeps, however large `maxAge` is, in milliseconds. */
const longestPause = 60_000;

/** The longest pause between two sweeps of a store whose events live for `maxAge`, in milliseconds. */
export function sweepInterval(maxAge: number): number {
  return Math.min(Math.max(maxAge / 4, 100), longestPause);
}

/**
 * Deletes events that have aged out, forgets channels that nobody uses, and numbers the events that were committed
 * while nobody listened. Every process does it, from its first use of the broker on, and skips the channels that
 * another one has locked.
 */
export class Sweeper {
  readonly #store: Store;
  #timer: NodeJS.Timeout | undefined;
  #sweep: Promise<void> | undefined;
  #isClosed = false;

  constructor(store: Store) {
    this.#store = store;
  }

  start(): void {
    if (this.#timer === undefined && !this.#isClosed) this.#schedule(0);
  }

  #schedule(milliseconds: number): void {
    this.#timer = setTimeout(() => {
      this.#sweep = this.#run().finally(() => {
        // The pause is random, so that the processes of a cluster do not all sweep at the same moment.
        if (!this.#isClosed) this.#schedule(sweepInterval(this.#store.history.maxAge) * (0.5 + Math.random() / 2));
      });
    }, milliseconds).unref();
  }

  /** Never rejects: the next sweep makes up for one that fails. */
  async #run(): Promise<void> {
    const store = this.#store;
    try {
      for (let hasMore = true; hasMore && !this.#isClosed;) {
        const [rows = []] = await store.run([store.drainStatement()]);
        hasMore = store.onDrained(rows);
      }
      for (let after: string | null | undefined = "-1"; after !== null && after !== undefined && !this.#isClosed;) {
        const [rows = []] = await store.run([`SELECT ${store.s}.sweep(${after}, ${store.history.maxAge})`]);
        after = rows[0]?.[0];
      }
    } catch {
      // The database is away, or the pool exhausted.
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#sweep;
  }
}
