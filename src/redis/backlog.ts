import { backOff } from "../runtime/backoff.js";

/** A set of items to work through. Several batches run at a time, but an item is never in two of them. */
export class Backlog<T> {
  readonly #width: number;
  readonly #batchSize: number;
  /** Rejects if the items must be tried again later. */
  readonly #work: (items: T[]) => Promise<unknown>;
  readonly #signal: AbortSignal;
  readonly #items = new Set<T>();
  readonly #busy = new Set<T>();
  #workers = 0;
  #failures = 0;

  constructor(width: number, batchSize: number, signal: AbortSignal, work: (items: T[]) => Promise<unknown>) {
    this.#width = width;
    this.#batchSize = batchSize;
    this.#signal = signal;
    this.#work = work;
  }

  add(item: T): void {
    this.#items.add(item);
    if (this.#workers < this.#width) {
      this.#workers++;
      // Items added in the same turn go in one batch.
      setImmediate(() => void this.#run());
    }
  }

  delete(item: T): void {
    this.#items.delete(item);
  }

  async #run(): Promise<void> {
    for (let batch = this.#take(); batch.length > 0 && !this.#signal.aborted; batch = this.#take()) {
      try {
        await this.#work(batch);
        this.#failures = 0;
      } catch {
        for (const item of batch) this.#items.add(item);
        await backOff(this.#failures++, this.#signal);
      } finally {
        for (const item of batch) this.#busy.delete(item);
      }
    }
    this.#workers--;
  }

  #take(): T[] {
    const batch: T[] = [];
    for (const item of this.#items) {
      if (batch.length === this.#batchSize) break;
      if (this.#busy.has(item)) continue;
      this.#items.delete(item);
      this.#busy.add(item);
      batch.push(item);
    }
    return batch;
  }
}
