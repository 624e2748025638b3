/**
 * How often to wake a watcher while the broker does not listen, in milliseconds. A producer must notice within a second
 * that its channel has ended.
 */
const pause = 700;

/** Producers that must notice when somebody else ends their channel, by the keys of these channels. */
export class EndWatchers {
  readonly #wakes = new Map<string, Set<() => void>>();

  get isEmpty(): boolean {
    return this.#wakes.size === 0;
  }

  /**
   * @param isListening while it returns `false`, `wake` is called at regular intervals
   * @returns a function that removes the watcher
   */
  add(key: string, wake: () => void, isListening: () => boolean): () => void {
    const wakes = this.#wakes.get(key) ?? new Set();
    this.#wakes.set(key, wakes.add(wake));
    const timer = setInterval(() => isListening() || wake(), pause).unref();
    return () => {
      clearInterval(timer);
      wakes.delete(wake);
      if (wakes.size === 0 && this.#wakes.get(key) === wakes) this.#wakes.delete(key);
    };
  }

  wake(key: string): void {
    for (const wake of this.#wakes.get(key) ?? []) wake();
  }

  wakeAll(): void {
    for (const key of this.#wakes.keys()) this.wake(key);
  }
}
