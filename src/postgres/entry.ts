import type { PublishedEvent } from "../broker/broker.js";
import { type EventParts, publishedEvent } from "../broker/published-event.js";
import { EventStreamError, show } from "../errors.js";
import { formatPlace } from "./place.js";

/** An event of a channel, with its number. */
export interface Entry {
  readonly n: number;
  /**
   * When it got its number, in microseconds of the server's clock. A subscription to several channels is ordered by
   * it.
   */
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
      `No broker wrote the event ${n} of the channel ${show(channel)}; write to the tables by their functions only.`,
      { cause },
    );
  }
}
