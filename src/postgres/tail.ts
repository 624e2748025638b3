import type { Waiter } from "../source/feed.js";
import { type ChannelStatus, placeIn } from "./channel-status.js";
import type { Entry } from "./entry.js";
import type { Place } from "./place.js";
import type { ReadResult } from "./read-statement.js";

/**
 * The newest part of a channel, read once for all subscriptions of this process. It holds about `maxEvents` events at
 * most, without a hole. A cursor that has fallen behind the tail reads pages from the database. The tail lives as long
 * as the channel has subscriptions in this process.
 */
export class Tail {
  readonly channel: string;
  /**
   * The place of its last entry. The next read begins after it. While the channel does not exist, cursors share this
   * object, so that they know of the last check although it does not wake them.
   */
  place: { readonly run: string; readonly n: number } | { asOf: number };
  /** What the channel's row said at the last read; `undefined` while the channel does not exist. */
  status: ChannelStatus | undefined;
  isEnded = false;
  /** The error that made the channel unreadable. */
  error: unknown;
  subscriptions = 0;
  /** Callbacks that are called once, after the next read. */
  readonly onRead: (() => void)[] = [];
  /**
   * One entry for each time that the server had lost events. `left` is the number of the last event that was left, or -1
   * if the channel is gone, or another one of the same name. `within` is the run that lost them, if the run is still the same.
   */
  readonly losses: { readonly left: number; readonly within: string | undefined }[] = [];
  readonly #maxEvents: number;
  readonly #maxAge: number;
  #entries: { entry: Entry; readAt: number }[] = [];
  #waiting = new Set<Waiter>();

  constructor(
    channel: string,
    place: Place,
    status: ChannelStatus | undefined,
    { maxEvents, maxAge }: { maxEvents: number; maxAge: number },
  ) {
    this.channel = channel;
    this.place = { ...place };
    this.status = status;
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

  /** Whether it holds everything after a place. */
  has(place: Place): boolean {
    return (
      "run" in place &&
      "run" in this.place &&
      place.run === this.place.run &&
      place.n >= this.floor &&
      place.n <= this.last
    );
  }

  /**
   * Takes in what a read after `place` has brought.
   *
   * @returns whether there is more to read
   */
  update({ status, entries, error }: ReadResult): boolean {
    if (status === undefined) return false;
    if (!this.#reconcile(status)) return true;
    this.#append(entries);
    this.error ??= error;
    // The next events are gone: they were trimmed, or too old, before they could be read.
    if (entries.length === 0 && error === undefined && status.last > this.last) this.#jump(status.last);
    this.isEnded ||= status.isEnded && this.last >= status.last;
    return error === undefined && this.last < status.last;
  }

  /**
   * Takes in that the channel did not exist at `asOf`, by the server's clock. If nobody has looked for `maxAge`, a
   * channel may have been made and forgotten in that time.
   */
  onAbsent(asOf: number): void {
    if ("run" in this.place || asOf - this.place.asOf >= this.#maxAge) {
      this.status = undefined;
      this.#lose(-1, undefined, { asOf });
    } else if (asOf > this.place.asOf) this.place.asOf = asOf;
  }

  #lose(left: number, within: string | undefined, place: Place): void {
    this.losses.push({ left, within });
    this.#entries = [];
    this.place = place;
  }

  /**
   * Finds the tail's place in the channel as it is now. The channel may be another one of the same name, or have lost
   * events.
   *
   * @returns whether the entries continue what has been read
   */
  #reconcile(status: ChannelStatus): boolean {
    this.status = status;
    const { run, priorRun, since, last } = status;
    const kept = placeIn(status, this.place, this.#maxAge);
    if (kept !== undefined) {
      this.place = { run, n: kept };
      return true;
    }
    const before = "run" in this.place ? this.place.run : undefined;
    const left = before === run ? last : before === priorRun ? Math.min(since, last) : -1;
    this.#lose(left, before === run ? run : undefined, { run, n: Math.max(left, 0) });
    return false;
  }

  #append(entries: readonly Entry[]): void {
    const { run } = this.place as { run: string };
    const readAt = performance.now();
    for (const entry of entries) {
      // The events in between are gone: they were trimmed, or too old, before they could be read.
      if (entry.n !== this.last + 1) this.#entries = [];
      this.#entries.push({ entry, readAt });
      this.place = { run, n: entry.n };
    }
    this.expire();
  }

  #jump(n: number): void {
    this.#entries = [];
    this.place = { run: (this.place as { run: string }).run, n };
  }

  expire(): void {
    const oldest = performance.now() - this.#maxAge;
    let gone = Math.max(0, this.#entries.length - this.#maxEvents);
    while (gone < this.#entries.length && (this.#entries[gone] as { readAt: number }).readAt < oldest) gone++;
    // Entries are removed in blocks, because each removal copies all that stay.
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
