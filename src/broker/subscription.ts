import type { AbortSource } from "../runtime/lazy-signal.js";
import { done, Feed, type Waiter } from "../source/feed.js";
import type { PublishedEvent } from "./broker.js";
import { type SubscribeSettings, gapEvent } from "./checks.js";

/**
 * The place of one subscription in one channel. Each broker has its own class; `Entry` is what its log holds.
 *
 * A cursor may take hold of resources (a tail, a connection) at the first `peek`, never before: a subscription that
 * nobody reads must not keep anything alive.
 */
export interface Cursor<Entry extends object> {
  /**
   * Looks at what comes next in the channel. Called again and again, so it must be cheap; it moves the cursor only
   * past what the subscriber need not see (events that are missing, the mark of the end).
   *
   * - an entry: the next event. It is returned again until `take`.
   * - `"gap"`: events are missing here. It is returned once for each loss; the next call looks past the loss.
   * - `"loading"`: there may be an entry, but it is not in this process yet. Later entries of other channels wait for
   *   it.
   * - `undefined`: there is no entry yet.
   * - `"end"`: the channel has ended, and nothing is left in it. Final.
   *
   * @throws the error that ends the subscription
   */
  peek(): Entry | "gap" | "loading" | "end" | undefined;

  /** Moves past the entry that `peek` has just returned. */
  take(entry: Entry): void;

  /**
   * Calls `waiter.wake()` once, when `peek` may return something else or the broker closes. It is called after every
   * round of `peek` that found nothing, even if the same waiter still waits from an earlier call, so waits must not
   * pile up. A superfluous wake does no harm.
   */
  wait(waiter: Waiter): void;

  /** Frees what the cursor holds, and drops `waiter`. This is the last call, and it is made once. */
  release(waiter: Waiter): void;
}

/** What subscriptions need from their broker. All of them share one such object. */
export interface SubscriptionHost<Entry extends object, Place extends Cursor<Entry>> {
  /** Whether the broker has been closed, and with it every subscription. */
  readonly isClosed: boolean;

  /** Negative if `a` is older than `b`, an entry of another channel. The older one is delivered first. */
  compare(a: Entry, b: Entry): number;

  /**
   * The event of the entry that has just been taken. Its id names a place in every channel of the subscription, even in
   * those that have ended; `cursors` has the cursor of each, in the order in which the subscription got them.
   */
  eventOf(entry: Entry, cursors: readonly Place[]): PublishedEvent;
}

/** Where a subscription begins. */
export interface Beginning<Place> {
  /** One for each channel. */
  readonly cursors: readonly Place[];
  /** Whether events are missing already, so that the first thing a subscriber gets is a gap. */
  readonly isMissing: boolean;
}

type Result = IteratorResult<PublishedEvent, undefined>;

/**
 * What `subscribe` returns: the events of one channel or several as one stream, the oldest first. It has no queue: it
 * asks its cursors when it is read.
 *
 *     new --first read--> open --all channels ended, signal, return(), close(), error--> over
 *
 * It listens to its signal only from the first read on, so a subscription that is dropped before that can be collected.
 */
export class Subscription<Entry extends object, Place extends Cursor<Entry>> extends Feed<PublishedEvent> {
  readonly #host: SubscriptionHost<Entry, Place>;
  readonly #signal: AbortSource | undefined;
  readonly #onGap: SubscribeSettings["onGap"];
  /** Empty when the subscription is over. */
  #cursors: readonly Place[];
  /** Whether a loss has been found that the subscriber has not been told of yet. */
  #isMissing: boolean;
  #lastEventId: string | undefined;
  #state: "new" | "open" | "over" = "new";

  constructor(
    host: SubscriptionHost<Entry, Place>,
    { cursors, isMissing }: Beginning<Place>,
    { lastEventId, signal, onGap }: SubscribeSettings,
  ) {
    super();
    this.#host = host;
    this.#cursors = cursors;
    this.#isMissing = isMissing;
    this.#lastEventId = lastEventId;
    this.#signal = signal;
    this.#onGap = onGap;
  }

  read(): Result | undefined {
    if (this.#host.isClosed) this.end();
    else if (this.#state === "new") this.#open();
    let cursor: Place | undefined;
    let oldest: Entry | undefined;
    let isLoading = false;
    let hasEnded = true;
    for (const candidate of this.#cursors) {
      let entry = candidate.peek();
      for (; entry === "gap"; entry = candidate.peek()) this.#isMissing = true;
      if (entry === "end") continue;
      hasEnded = false;
      if (entry === "loading") isLoading = true;
      else if (entry !== undefined && (oldest === undefined || this.#host.compare(entry, oldest) < 0)) {
        cursor = candidate;
        oldest = entry;
      }
    }
    if (this.#isMissing && this.#state === "open") return this.#readGap();
    if (hasEnded) {
      this.end();
      return done;
    }
    if (cursor === undefined || oldest === undefined || isLoading) {
      for (const waiting of this.#cursors) waiting.wait(this);
      return undefined;
    }
    cursor.take(oldest);
    const event = this.#host.eventOf(oldest, this.#cursors);
    this.#lastEventId = event.id;
    return { done: false, value: event };
  }

  #readGap(): Result | undefined {
    this.#isMissing = false;
    const gap = gapEvent(this.#onGap, this.#lastEventId);
    // `onGap` may have published or ended something, so read again.
    return gap === undefined ? this.read() : { done: false, value: gap as PublishedEvent };
  }

  #open(): void {
    this.#state = "open";
    if (this.#signal?.aborted === true) this.end();
    else this.#signal?.addEventListener("abort", this, { once: true });
  }

  end(): void {
    if (this.#state === "over") return;
    this.#state = "over";
    this.#signal?.removeEventListener("abort", this);
    for (const cursor of this.#cursors) cursor.release(this);
    this.#cursors = [];
    this.wake();
  }
}
