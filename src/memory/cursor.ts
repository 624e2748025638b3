import type { Cursor } from "../broker/subscription.js";
import type { Waiter } from "../source/feed.js";
import type { Entry, Log } from "./log.js";

/** The place of an unknown last event ID: before every event, so that there is always a gap. */
export const nowhere = -1;

/** Where cursors get their logs. */
export interface Logs {
  /** The number of the newest event, whatever its channel. */
  readonly sequence: number;
  /** The log of `channel`, which the cursor must release. It may be forgotten earlier. */
  acquire(channel: string): Log;
  release(channel: string, log: Log): void;
}

/** A place in the log of one channel: the subscription needs only events with a number after `#after`. */
export class LogCursor implements Cursor<Entry> {
  readonly #logs: Logs;
  readonly #channel: string;
  #log: Log;
  #after: number;

  constructor(logs: Logs, channel: string, place: number | "start" | "now") {
    this.#logs = logs;
    this.#channel = channel;
    this.#log = logs.acquire(channel);
    this.#after = place === "now" ? logs.sequence : place === "start" ? this.#log.start : place;
  }

  peek(): Entry | "gap" | "end" | undefined {
    // If the broker has forgotten the log, later events go to another one. A log that has ended is still read to its
    // end.
    if (this.#log.isForgotten && !this.#log.isEnded) this.#log = this.#logs.acquire(this.#channel);
    const log = this.#log;
    if (log.last > this.#after) {
      const { lostUpTo } = log;
      if (lostUpTo > this.#after) {
        this.#after = lostUpTo;
        return "gap";
      }
      const entry = log.after(this.#after);
      if (entry !== undefined) return entry;
    }
    return log.isEnded ? "end" : undefined;
  }

  take(entry: Entry): void {
    this.#after = entry.sequence;
  }

  wait(waiter: Waiter): void {
    this.#log.wait(waiter);
  }

  release(waiter: Waiter): void {
    this.#log.release(waiter);
    this.#logs.release(this.#channel, this.#log);
  }
}
