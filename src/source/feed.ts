import { isTurnSpent, whenTurnComes } from "../runtime/turn.js";

interface Call<T> {
  readonly resolve: (result: IteratorResult<T, undefined>) => void;
  readonly reject: (error: unknown) => void;
}

/** Waits for a feed, or for a log, to have something new. */
export interface Waiter {
  /**
   * Called when there is something to read, or when there never will be. The call may come in the middle of
   * `publish()`, so it must not run the application's code.
   */
  wake(): void;
}

/** The result of an iterator that has ended. */
export const done: IteratorReturnResult<undefined> = { done: true, value: undefined };

/**
 * An async iterator that can also be read without a promise for each item: one event goes to thousands of
 * subscriptions, and the promises would cost more than the event.
 */
export abstract class Feed<T> implements AsyncIterableIterator<T, undefined>, Waiter {
  #isClaimed = false;
  /** The calls of `next` that wait for an item, in order. `#server` answers them when the feed is woken. */
  #calls: Call<T>[] | undefined;
  #server: Waiter | undefined;
  #waiter: Waiter | undefined;

  /**
   * Returns the next item, or `undefined` if there is none yet; `wait` tells when to read again.
   *
   * @throws the error that ends the feed
   */
  abstract read(): IteratorResult<T, undefined> | undefined;

  /** Ends the feed, even if there is more to read, and wakes its waiter. */
  abstract end(): void;

  /** @returns whether no reader has claimed it before */
  claim(): boolean {
    const isFirst = !this.#isClaimed;
    this.#isClaimed = true;
    return isFirst;
  }

  /** Called when the signal that the feed listens to aborts. */
  handleEvent(): void {
    this.end();
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

  wake(): void {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.wake();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /**
   * The first call is answered as soon as possible, because its result decides between a stream and 204. Later calls
   * wait for the next turn if this one is spent. Otherwise a loop that publishes to the channel it reads would always
   * find another event, and would block the event loop for ever.
   */
  next(): Promise<IteratorResult<T, undefined>> {
    return new Promise((resolve, reject) => {
      const isFirst = this.#calls === undefined;
      const calls = (this.#calls ??= []);
      // Earlier calls are still waiting, and are answered first.
      if (calls.push({ resolve, reject }) > 1) return;
      if (!isFirst && isTurnSpent()) whenTurnComes(() => this.#serve(calls));
      else this.#serve(calls);
    });
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.end();
    return Promise.resolve(done);
  }

  /** Answers the waiting calls of `next` while there are items for them. */
  #serve(calls: Call<T>[]): void {
    while (calls.length > 0) {
      try {
        const result = this.read();
        if (result === undefined) {
          this.wait((this.#server ??= { wake: () => this.#serve(calls) }));
          return;
        }
        calls.shift()?.resolve(result);
      } catch (error) {
        calls.shift()?.reject(error);
        this.end();
      }
    }
  }
}
