import type { ServerSentEvent } from "../format/event.js";
import type { Beginning } from "./arguments.js";
import type { PublishedEvent } from "./broker.js";
import type { Entry, Log, Waiter } from "./log.js";
import type { Logs } from "./logs.js";

/** How far a subscription has come in one of its channels. */
interface Place {
  readonly channel: string;
  /** Held by who has not read it to its end, even if the broker has forgotten it by then. */
  log: Log;
  /** The number of the last event that it need not get any more: it had it, or was told that it is missing. */
  after: number;
}

/** Before every event, so that whatever has left the log is missing, even if nothing has: for an id that nobody knows. */
const nowhere = -1;

type Result = IteratorResult<PublishedEvent, undefined>;

const done: Result = { done: true, value: undefined };

/**
 * A cursor in the logs of its channels. It has no queue: it looks for its next event when it is asked.
 *
 *     reading --nothing there--> waiting --an event, asked for no more--> reading
 *        '---- everything read and ended, signal, return(), close ----------^--> over
 *
 * The logs know it only while it waits: one that is dropped is garbage.
 */
export class Subscription implements AsyncIterableIterator<PublishedEvent, undefined>, Waiter {
  readonly #logs: Logs;
  readonly #signal: AbortSignal | undefined;
  readonly #gap: (lastEventId: string | undefined) => ServerSentEvent | undefined;
  /** None when it is over. */
  #places: Place[];
  #lastEventId: string | undefined;
  #isListening = false;
  /** The calls of `next` that wait for an event; it waits when there are any. */
  readonly #calls: ((result: Result) => void)[] = [];

  constructor(logs: Logs, channels: readonly string[], { lastEventId, from, signal, gap }: Beginning) {
    this.#logs = logs;
    this.#signal = signal;
    this.#gap = gap;
    this.#lastEventId = lastEventId;
    const place = lastEventId === undefined ? undefined : (logs.find(lastEventId, channels) ?? nowhere);
    this.#places = channels.map((channel) => {
      const log = logs.open(channel);
      return { channel, log, after: place ?? (from === "start" ? log.lostUpTo : logs.sequence) };
    });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<Result> {
    return new Promise((resolve) => {
      if (this.#logs.isClosed || this.#signal?.aborted === true) this.finish();
      // Where others wait already, nothing is there.
      const result = this.#calls.length === 0 ? this.#read() : undefined;
      if (result !== undefined) {
        resolve(result);
        return;
      }
      if (this.#calls.length === 0) this.#wait();
      this.#calls.push(resolve);
    });
  }

  return(): Promise<Result> {
    this.finish();
    return Promise.resolve(done);
  }

  /** What comes next; `undefined` if it is not there yet. */
  #read(): Result | undefined {
    let next: Entry | undefined;
    let nextPlace: Place | undefined;
    let isMissing = false;
    for (const place of this.#places) {
      // A channel that was forgotten before it ended may have begun anew.
      if (!place.log.isEnded) place.log = this.#logs.open(place.channel);
      const { lostUpTo } = place.log;
      if (lostUpTo > place.after) {
        place.after = lostUpTo;
        isMissing = true;
      }
      const entry = place.log.after(place.after);
      if (entry !== undefined && (next === undefined || entry.sequence < next.sequence)) {
        next = entry;
        nextPlace = place;
      }
    }
    if (isMissing) {
      const gap = this.#missing();
      // onGap may have published or ended something.
      return gap === undefined ? this.#read() : { done: false, value: gap as PublishedEvent };
    }
    if (next !== undefined && nextPlace !== undefined) {
      nextPlace.after = next.sequence;
      return this.#yield(next.event);
    }
    if (!this.#isAtEnd()) return undefined;
    this.finish();
    return done;
  }

  #missing(): ServerSentEvent | undefined {
    try {
      return this.#gap(this.#lastEventId);
    } catch (error) {
      this.finish();
      throw error;
    }
  }

  #yield(event: PublishedEvent): Result {
    this.#lastEventId = event.id;
    return { done: false, value: event };
  }

  /** Whether all its channels have ended; there are none when it is over. */
  #isAtEnd(): boolean {
    return this.#places.every(({ log }) => log.isEnded);
  }

  #wait(): void {
    // Only now, so that a subscription that is never read leaves nothing behind.
    if (!this.#isListening) this.#signal?.addEventListener("abort", this.finish, { once: true });
    this.#isListening = true;
    for (const { log } of this.#places) log.waiting.add(this);
  }

  /** The entry is the next one: who waits has everything else. */
  take(entry: Entry): void {
    this.#calls.shift()?.(this.#yield(entry.event));
    // It has everything up to here in its other channels too.
    for (const place of this.#places) place.after = entry.sequence;
    if (this.#calls.length === 0) this.#leave();
  }

  look(): void {
    if (this.#isAtEnd()) this.finish();
  }

  readonly finish = (): void => {
    this.#signal?.removeEventListener("abort", this.finish);
    this.#leave();
    this.#places = [];
    for (const resolve of this.#calls.splice(0)) resolve(done);
  };

  #leave(): void {
    for (const { log } of this.#places) log.waiting.delete(this);
  }
}
