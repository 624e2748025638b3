import { done, Feed } from "../source/feed.js";
import type { AbortSource } from "../runtime/lazy-signal.js";
import { type SubscribeSettings, gapEvent } from "../broker/checks.js";
import type { PublishedEvent } from "../broker/broker.js";
import type { Entry, Log } from "./log.js";
import type { Channels } from "./channels.js";

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

/**
 * A cursor in the logs of its channels. It has no queue: it looks for its next event when it is asked.
 *
 *     new --first read--> reading --nothing there--> listening --read no further--> reading
 *      '------ everything read and ended, signal, return(), close -----^--> over
 *
 * The logs know it only while it listens, and its signal from the first read on: one that is dropped before is garbage.
 */
export class Subscription extends Feed<PublishedEvent> {
  readonly #logs: Channels;
  readonly #signal: AbortSource | undefined;
  readonly #onGap: SubscribeSettings["onGap"];
  /** None when it is over. */
  #places: Place[];
  #lastEventId: string | undefined;
  #state: "new" | "reading" | "listening" | "over" = "new";

  constructor(logs: Channels, channels: readonly string[], { lastEventId, from, signal, onGap }: SubscribeSettings) {
    super();
    this.#logs = logs;
    this.#signal = signal;
    this.#onGap = onGap;
    this.#lastEventId = lastEventId;
    const place = lastEventId === undefined ? undefined : (logs.find(lastEventId, channels) ?? nowhere);
    this.#places = channels.map((channel) => {
      const log = logs.open(channel);
      return { channel, log, after: place ?? (from === "start" ? log.lostUpTo : logs.sequence) };
    });
  }

  read(): Result | undefined {
    if (this.#logs.isClosed) this.finish();
    if (this.#state === "new") this.#begin();
    let next: Entry | undefined;
    let isMissing = false;
    for (const place of this.#places) {
      // A channel that was forgotten before it ended may have begun anew.
      if (!place.log.isEnded) place.log = this.#logs.open(place.channel);
      // Most are at the end.
      if (place.log.last <= place.after) continue;
      const { lostUpTo } = place.log;
      if (lostUpTo > place.after) {
        place.after = lostUpTo;
        isMissing = true;
      }
      const entry = place.log.after(place.after);
      if (entry !== undefined && (next === undefined || entry.sequence < next.sequence)) next = entry;
    }
    if (isMissing) {
      const gap = gapEvent(this.#onGap, this.#lastEventId);
      // onGap may have published or ended something.
      return gap === undefined ? this.read() : { done: false, value: gap as PublishedEvent };
    }
    if (next !== undefined) return this.#yield(next);
    // Nothing is left where all its channels have ended; there are none when it is over.
    if (this.#places.every(({ log }) => log.isEnded)) {
      this.finish();
      return done;
    }
    this.#listen();
    return undefined;
  }

  #yield({ sequence, event }: Entry): Result {
    // In its other channels nothing came before.
    for (const place of this.#places) place.after = sequence;
    this.#lastEventId = event.id;
    return { done: false, value: event };
  }

  /** Only now, so that a subscription that is never read leaves nothing behind. */
  #begin(): void {
    this.#state = "reading";
    if (this.#signal?.aborted === true) this.finish();
    else this.#signal?.addEventListener("abort", this, { once: true });
  }

  /** Has the logs wake it. */
  #listen(): void {
    if (this.#state === "listening") return;
    this.#state = "listening";
    for (const { log } of this.#places) log.wait(this);
  }

  #leave(): void {
    if (this.#state !== "listening") return;
    this.#state = "reading";
    for (const { log } of this.#places) log.leave(this);
  }

  override wake(): void {
    super.wake();
    // Who reads on listens on.
    if (!this.isAwaited) this.#leave();
  }

  finish(): void {
    if (this.#state === "over") return;
    this.#signal?.removeEventListener("abort", this);
    this.#leave();
    this.#state = "over";
    this.#places = [];
    super.wake();
  }
}
