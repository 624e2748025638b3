interface Call<T> {
  readonly resolve: (result: IteratorResult<T, undefined>) => void;
  readonly reject: (error: unknown) => void;
}

/** Who waits for something to come. */
export interface Waiter {
  /** Something has come, or nothing can any longer. It is the middle of a `publish`: nothing of the application's may run. */
  wake(): void;
}

/** That nothing comes any more. */
export const done: IteratorReturnResult<undefined> = { done: true, value: undefined };

/**
 * An async iterator that can also be read without a promise for each item: one event goes to thousands of
 * subscriptions, and the promises would cost more than the event.
 */
export abstract class Feed<T> implements AsyncIterableIterator<T, undefined>, Waiter {
  /** The calls of `next` that wait for an item. */
  #calls: Call<T>[] | undefined;
  #waiter: Waiter | undefined;

  /**
   * What comes next; `undefined` if it is not there yet: who waits is woken when it may be.
   *
   * @throws what ends the feed
   */
  abstract read(): IteratorResult<T, undefined> | undefined;

  /** Ends it, whatever is there, and wakes who waits. */
  abstract finish(): void;

  /** A signal that it listens to has aborted. */
  handleEvent(): void {
    this.finish();
  }

  /** Wakes `waiter` once, when it is worth reading again. */
  wait(waiter: Waiter): void {
    const other = this.#waiter;
    this.#waiter =
      other === undefined
        ? waiter
        : {
            wake() {
              other.wake();
              waiter.wake();
            },
          };
  }

  /** Whether somebody waits. */
  protected get isAwaited(): boolean {
    return this.#waiter !== undefined;
  }

  wake(): void {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.wake();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    return new Promise((resolve, reject) => {
      const calls = (this.#calls ??= []);
      // Where others wait already, nothing is there.
      if (calls.push({ resolve, reject }) === 1) this.#serve(calls);
    });
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.finish();
    return Promise.resolve(done);
  }

  /** Serves the calls that wait, as far as there is something for them. */
  #serve(calls: Call<T>[]): void {
    while (calls.length > 0) {
      try {
        const result = this.read();
        if (result === undefined) {
          this.wait({ wake: () => this.#serve(calls) });
          return;
        }
        calls.shift()?.resolve(result);
      } catch (error) {
        calls.shift()?.reject(error);
        this.finish();
      }
    }
  }
}
