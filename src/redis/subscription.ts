import { type SubscribeSettings, gapEvent } from "../broker/checks.js";
import type { PublishedEvent } from "../broker/broker.js";
import { publishedEvent } from "../broker/published-event.js";
import { done, Feed } from "../source/feed.js";
import type { AbortSource } from "../runtime/lazy-signal.js";
import { Cursor } from "./cursor.js";
import { compareIds, type Entry } from "./entry.js";
import { composeId, type Position } from "./composite-id.js";
import type { Tail } from "./tail.js";

/** Where a subscription begins in one of its channels. */
export interface Place {
  readonly key: string;
  readonly position: Position;
  /** Whether the channel has ended and nothing is left in it. */
  readonly isOver: boolean;
  /** The newest position of the channel, and when (by `performance.now()`) it was that for certain. */
  readonly last: string;
  readonly at: number;
}

/** What subscriptions have in common: the tails, and who reads them. */
export interface Readers {
  readonly isClosed: boolean;
  /** The tail of the channel, with this subscription among those that will be ended when the broker closes. */
  join(subscription: Subscription, place: Place): Tail;
  leave(subscription: Subscription, tails: readonly Tail[]): void;
}

type Result = IteratorResult<PublishedEvent, undefined>;

/**
 * A subscription to one channel or several. It has no queue: it looks for its next event when it is asked, and it joins
 * the tails of its channels when it is first asked, so that one that nobody iterates holds nothing.
 */
export class Subscription extends Feed<PublishedEvent> {
  readonly #isComposite: boolean;
  readonly #signal: AbortSource | undefined;
  readonly #onGap: SubscribeSettings["onGap"];
  readonly #readers: Readers;
  #state: "new" | "reading" | "over" = "new";
  #places: readonly Place[];
  #cursors = new Map<string, Cursor>();
  /** Of the channels that are at their end, too: they stay there when the client comes back. */
  readonly #positions: Map<string, Position>;
  #isMissing: boolean;
  #lastEventId: string | undefined;

  constructor(
    readers: Readers,
    places: readonly Place[],
    isMissing: boolean,
    { lastEventId, signal, onGap }: SubscribeSettings,
  ) {
    super();
    this.#readers = readers;
    this.#places = places;
    this.#isComposite = places.length > 1;
    this.#positions = new Map(places.map(({ key, position }) => [key, position]));
    this.#isMissing = isMissing;
    this.#lastEventId = lastEventId;
    this.#signal = signal;
    this.#onGap = onGap;
  }

  #join(): void {
    if (this.#signal?.aborted === true) {
      this.finish();
      return;
    }
    this.#state = "reading";
    this.#signal?.addEventListener("abort", this, { once: true });
    const wake = (): void => this.wake();
    for (const place of this.#places) {
      if (!place.isOver)
        this.#cursors.set(place.key, new Cursor(this.#readers.join(this, place), place.position, wake));
    }
    this.#places = [];
  }

  read(): Result | undefined {
    if (this.#readers.isClosed) this.finish();
    else if (this.#state === "new") this.#join();
    for (;;) {
      if (this.#state === "over") return done;
      const next = this.#oldest();
      if (this.#isMissing) {
        this.#isMissing = false;
        const gap = gapEvent(this.#onGap, this.#lastEventId);
        if (gap !== undefined) return { done: false, value: gap as PublishedEvent };
      }
      if (this.#cursors.size === 0) this.finish();
      else if (next === undefined) return undefined;
      else {
        const event = this.#take(...next);
        if (event !== undefined) return { done: false, value: event };
      }
    }
  }

  /** The oldest of its channels' next entries, if none of them is still on its way from Redis. */
  #oldest(): [key: string, cursor: Cursor, entry: Entry] | undefined {
    let oldest: [string, Cursor, Entry] | undefined;
    let isLoading = false;
    for (const [key, cursor] of this.#cursors) {
      let entry = cursor.peek();
      for (; entry === "gap"; entry = cursor.peek()) this.#isMissing = true;
      if (entry === "loading") isLoading = true;
      else if (entry !== undefined && (oldest === undefined || compareIds(entry.id, oldest[2].id) < 0))
        oldest = [key, cursor, entry];
    }
    return isLoading ? undefined : oldest;
  }

  /** The event of `entry`, or `undefined` for the end of its channel. */
  #take(key: string, cursor: Cursor, entry: Entry): PublishedEvent | undefined {
    cursor.take(entry);
    this.#positions.set(key, entry.id);
    if (entry.event === undefined) {
      this.#cursors.delete(key);
      cursor.close();
      return undefined;
    }
    const event = this.#isComposite ? publishedEvent(composeId(this.#positions), entry.parts) : entry.event;
    this.#lastEventId = event.id;
    return event;
  }

  finish(): void {
    if (this.#state === "over") return;
    this.#state = "over";
    this.#signal?.removeEventListener("abort", this);
    const tails = [...this.#cursors.values()].map((cursor) => cursor.close());
    this.#cursors.clear();
    this.#places = [];
    this.#readers.leave(this, tails);
    this.wake();
  }
}
