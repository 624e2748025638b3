/** How often who does not listen looks itself, in milliseconds. */
const pause = 700;

/** Who waits for the end of channels that others may end, by what bells call them. */
export class Watches {
  readonly #wakes = new Map<string, Set<() => void>>();

  get isWatching(): boolean {
    return this.#wakes.size > 0;
  }

  /** @param isHeard whether bells are heard; while they are not, `wake` is called again and again */
  add(key: string, wake: () => void, isHeard: () => boolean): () => void {
    const wakes = this.#wakes.get(key) ?? new Set();
    this.#wakes.set(key, wakes.add(wake));
    const timer = setInterval(() => isHeard() || wake(), pause).unref();
    return () => {
      clearInterval(timer);
      wakes.delete(wake);
      if (wakes.size === 0 && this.#wakes.get(key) === wakes) this.#wakes.delete(key);
    };
  }

  ring(key: string): void {
    for (const wake of this.#wakes.get(key) ?? []) wake();
  }

  ringAll(): void {
    for (const key of this.#wakes.keys()) this.ring(key);
  }
}
