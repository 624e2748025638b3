import { randomBytes } from "node:crypto";
import type { PublishedEvent } from "../broker/broker.js";
import type { History, SubscribeSettings } from "../broker/checks.js";
import { type EventParts, publishedEvent } from "../broker/published-event.js";
import { Subscription, type SubscriptionHost } from "../broker/subscription.js";
import { LogCursor, type Logs, nowhere } from "./cursor.js";
import { type Entry, Log } from "./log.js";

/**
 * The longest time in milliseconds that an idle channel outlives its events; `maxAge` is the limit if it is shorter.
 */
const longestGrace = 60_000;

/**
 * The logs of a broker, and the one sequence that runs through them all: an event's number says what
 * came before it in every channel, so one id marks a place in any set of channels.
 *
 * A log that nobody waits for is forgotten when its events have aged out. One number, `forgottenUpTo`, is kept for all
 * forgotten logs together: in a channel that begins anew, every place before that number leads to a gap.
 */
export class Channels implements Logs, SubscriptionHost<Entry, LogCursor> {
  /** The number of the last event, 0 before the first. */
  sequence = 0;
  /** The number of the last event that was forgotten together with its log. */
  forgottenUpTo = 0;
  isClosed = false;

  readonly #history: History;
  /** Part of every id, so that an id from before a restart is not mistaken for one of this run. */
  readonly #prefix = `${randomBytes(6).toString("hex")}-`;
  readonly #logs = new Map<string, Log>();
  #timer: NodeJS.Timeout | undefined;

  constructor(history: History) {
    this.#history = history;
  }

  get(channel: string): Log | undefined {
    return this.#logs.get(channel);
  }

  subscribe(channels: readonly string[], settings: SubscribeSettings): Subscription<Entry, LogCursor> {
    const { lastEventId, from } = settings;
    const place = lastEventId === undefined ? from : (this.#find(lastEventId, channels) ?? nowhere);
    const cursors = channels.map((channel) => new LogCursor(this, channel, place));
    return new Subscription(this, { cursors, isMissing: false }, settings);
  }

  compare(a: Entry, b: Entry): number {
    return a.sequence - b.sequence;
  }

  /** The event as it is: the number in its id is a place in all channels. */
  eventOf({ event }: Entry): PublishedEvent {
    return event;
  }

  /** The log of `channel` for a subscription, which must release it. */
  acquire(channel: string): Log {
    const log = this.open(channel);
    log.subscriptions += 1;
    log.wasIdle = false;
    return log;
  }

  /**
   * A log that never held anything is forgotten with its last subscription: a stranger's made-up name must cost
   * nothing.
   */
  release(channel: string, log: Log): void {
    log.subscriptions -= 1;
    if (log.subscriptions === 0 && log.isBlank && !log.isForgotten) this.#forget(channel, log);
  }

  #forget(channel: string, log: Log): void {
    log.forget();
    this.#logs.delete(channel);
    this.forgottenUpTo = Math.max(this.forgottenUpTo, log.lostUpTo);
    if (this.#logs.size === 0) this.#releaseTimer();
  }

  /** The log of `channel`, which is made if there is none. */
  open(channel: string): Log {
    let log = this.#logs.get(channel);
    if (log === undefined) {
      log = new Log(this.#history, this.forgottenUpTo);
      this.#logs.set(channel, log);
      // The second sweep in a row that finds a log idle forgets it.
      this.#timer ??= setInterval(this.#sweep, Math.max(10, Math.min(this.#history.maxAge, longestGrace) / 2)).unref();
    }
    return log;
  }

  /** @returns the event's id */
  append(channel: string, parts: EventParts): string {
    const log = this.open(channel);
    const sequence = this.sequence + 1;
    const id = `${this.#prefix}${sequence}`;
    const entry = { sequence, at: performance.now(), event: publishedEvent(id, parts) };
    this.sequence = sequence;
    log.append(entry);
    return id;
  }

  end(channel: string): void {
    const log = this.open(channel);
    log.isEnded = true;
    log.touched = performance.now();
    log.wake();
  }

  /**
   * The number of the event with this `id`, if it belongs to one of these channels. An evicted event counts too. Its
   * own channel may then have a gap, but the older events that the other channels still hold must not come twice.
   */
  #find(id: string, channels: readonly string[]): number | undefined {
    const digits = id.startsWith(this.#prefix) ? id.slice(this.#prefix.length) : "";
    if (!/^[1-9]\d{0,15}$/.test(digits)) return undefined;
    const sequence = Number(digits);
    return channels.some((channel) => this.#logs.get(channel)?.knows(sequence)) ? sequence : undefined;
  }

  close(): void {
    this.isClosed = true;
    for (const log of this.#logs.values()) {
      log.wake();
      log.forget();
    }
    this.#logs.clear();
    this.#releaseTimer();
  }

  readonly #sweep = (): void => {
    const now = performance.now();
    for (const [channel, log] of this.#logs) {
      const isIdle = log.isIdle(now);
      // Not at once: a client that drops out now and comes back still finds its place, however quiet the channel was.
      if (isIdle && log.wasIdle) this.#forget(channel, log);
      log.wasIdle = isIdle;
    }
  };

  #releaseTimer(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
