import type { Store } from "./store.js";

/** How often at most, in milliseconds; for short ages more often. */
const longestPause = 60_000;

/** How often a process looks after a store whose events live for `maxAge`. */
export function sweepInterval(maxAge: number): number {
  return Math.min(Math.max(maxAge / 4, 100), longestPause);
}

/**
 * Deletes what has aged out, forgets channels that nobody uses, and numbers what was committed while nobody listened. Every
 * process does, from its first use of the broker on: it skips what another one has locked.
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
        // By chance, so that the processes of a cluster do not sweep in one moment.
        if (!this.#isClosed) this.#schedule(sweepInterval(this.#store.history.maxAge) * (0.5 + Math.random() / 2));
      });
    }, milliseconds).unref();
  }

  /** One that fails is made up for by the next. */
  async #run(): Promise<void> {
    const store = this.#store;
    try {
      for (let hasMore = true; hasMore && !this.#isClosed;) {
        const [rows = []] = await store.run([store.drainStatement()]);
        hasMore = store.drained(rows);
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
