import type { PublishedEvent } from "../broker/broker.js";
import { type EventParts, publishedEvent } from "../broker/published-event.js";
import { EventStreamError, show } from "../errors.js";
import type { Waiter } from "../source/feed.js";
import { type Head, placeIn } from "./head.js";
import { formatPlace, type Place } from "./place.js";

/** An event of a channel in its place. */
export interface Entry {
  readonly n: number;
  /** When it was numbered, in microseconds of the server's clock: what is older comes first among several channels. */
  readonly at: number;
  readonly event: PublishedEvent;
}

/** @throws {EventStreamError} `ERR_FOREIGN_ENTRY` */
export function entryOf(channel: string, run: string, n: number, at: number, payload: string): Entry {
  try {
    const parts = JSON.parse(payload) as EventParts;
    return { n, at, event: publishedEvent(formatPlace({ run, n }), parts) };
  } catch (cause) {
    throw new EventStreamError(
      "ERR_FOREIGN_ENTRY",
      `The event ${n} of the channel ${show(channel)} was not written by a broker: nothing but its functions may write to its tables.`,
      { cause },
    );
  }
}

/**
 * The newest part of a channel as this process has read it, once for all its subscriptions: a log without holes of at most
 * `maxEvents`. A cursor that has fallen behind it reads pages from the database. It is there as long as a subscription is.
 */
export class Tail {
  readonly channel: string;
  /** Where it is read on: after its last entry. */
  place: Place;
  /** What the channel's row said when it was read last, `undefined` as long as there is none: every other place is held against it. */
  head: Head | undefined;
  isEnded = false;
  /** What made the channel unreadable. */
  error: unknown;
  subscriptions = 0;
  /** Who waits until it has been read once more. */
  readonly refreshing: (() => void)[] = [];
  /** For each time the server was found to have lost events, or the channel: up to where it still has what had been read. */
  readonly losses: number[] = [];
  readonly #maxEvents: number;
  readonly #maxAge: number;
  #entries: { entry: Entry; readAt: number }[] = [];
  #waiting = new Set<Waiter>();

  constructor(channel: string, place: Place, head: Head | undefined, maxEvents: number, maxAge: number) {
    this.channel = channel;
    this.place = place;
    this.head = head;
    this.#maxEvents = maxEvents;
    this.#maxAge = maxAge;
  }

  /** The number of the last event that has been read. */
  get last(): number {
    return "run" in this.place ? this.place.n : 0;
  }

  /** The number of the event before the first that is held. */
  get floor(): number {
    return this.last - this.#entries.length;
  }

  at(n: number): Entry | undefined {
    return this.#entries[n - this.floor - 1]?.entry;
  }

  /** Whether what comes after a place is held. */
  has(place: Place): boolean {
    return (
      "run" in place &&
      "run" in this.place &&
      place.run === this.place.run &&
      place.n >= this.floor &&
      place.n <= this.last
    );
  }

  /** What the channel's row says, read after everything that has been read before: it may be another channel by now. */
  reconcile(head: Head): void {
    this.head = head;
    const kept = placeIn(head, this.place, this.#maxAge);
    if (kept !== undefined) {
      this.place = { run: head.run, n: kept };
      return;
    }
    const run = "run" in this.place ? this.place.run : undefined;
    const lostAfter = run === head.run ? head.last : run === head.priorRun ? Math.min(head.since, head.last) : -1;
    this.losses.push(lostAfter);
    this.#entries = [];
    this.place = { run: head.run, n: Math.max(lostAfter, 0) };
  }

  append(entries: readonly Entry[]): void {
    const { run } = this.place as { run: string };
    const readAt = performance.now();
    for (const entry of entries) {
      // What was between has been trimmed before it could be read.
      if (entry.n !== this.last + 1) this.#entries = [];
      this.#entries.push({ entry, readAt });
      this.place = { run, n: entry.n };
    }
    this.expire();
  }

  /** Everything up to `last` has been trimmed before it could be read. */
  skip(last: number): void {
    this.#entries = [];
    this.place = { run: (this.place as { run: string }).run, n: last };
  }

  expire(): void {
    const oldest = performance.now() - this.#maxAge;
    let gone = Math.max(0, this.#entries.length - this.#maxEvents);
    while (gone < this.#entries.length && (this.#entries[gone] as { readAt: number }).readAt < oldest) gone++;
    // In blocks: each removal moves all that stay.
    if (gone > this.#entries.length / 8) this.#entries = this.#entries.slice(gone);
  }

  wait(waiter: Waiter): void {
    this.#waiting.add(waiter);
  }

  stopWaiting(waiter: Waiter): void {
    this.#waiting.delete(waiter);
  }

  wake(): void {
    const waiting = this.#waiting;
    this.#waiting = new Set();
    for (const waiter of waiting) waiter.wake();
  }
}
