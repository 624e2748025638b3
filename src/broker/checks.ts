import { EventStreamError, show } from "../errors.js";
import type { ServerSentEvent } from "../format/event.js";
import { type AbortSource, lazySignalOf } from "../runtime/lazy-signal.js";
import type { HistoryOptions, SubscribeOptions } from "./broker.js";

/** How much of each channel is kept, checked and complete. */
export interface History {
  readonly maxEvents: number;
  readonly maxAge: number;
}

const defaultHistory: History = { maxEvents: 1000, maxAge: 300_000 };

/**
 * Checks a broker's `history` and fills in the defaults.
 *
 * @throws {EventStreamError} `ERR_INVALID_OPTION`, naming the option and its value
 */
export function checkHistory(history: HistoryOptions | undefined = {}): History {
  if (typeof history !== "object" || history === null)
    invalid("history", history, "an object such as { maxEvents: 1000, maxAge: 300_000 }");
  for (const [name, value] of Object.entries(history)) {
    if (!Object.hasOwn(defaultHistory, name)) {
      throw new EventStreamError(
        "ERR_INVALID_OPTION",
        `history has no option "${name}" (its value is ${show(value)}); it has maxEvents and maxAge.`,
        { field: `history.${name}` },
      );
    }
  }
  const { maxEvents = defaultHistory.maxEvents, maxAge = defaultHistory.maxAge } = history;
  if (!isCount(maxEvents)) invalid("history.maxEvents", maxEvents, "a whole number of events, 1 or more");
  if (!isCount(maxAge)) invalid("history.maxAge", maxAge, "a whole number of milliseconds, 1 or more");
  return { maxEvents, maxAge };
}

/** @throws {EventStreamError} `ERR_INVALID_CHANNEL` */
export function checkChannel(channel: unknown): string {
  if (typeof channel !== "string" || channel === "") {
    throw new EventStreamError(
      "ERR_INVALID_CHANNEL",
      `The channel is ${show(channel)}; its name must be a string that is not empty.`,
    );
  }
  return channel;
}

/**
 * The names of a subscription's channels, each once.
 *
 * @throws {EventStreamError} `ERR_INVALID_CHANNEL`
 */
export function checkChannels(channels: unknown): string[] {
  if (!Array.isArray(channels)) return [checkChannel(channels)];
  if (channels.length === 0) {
    throw new EventStreamError(
      "ERR_INVALID_CHANNEL",
      "The channels are an empty array; name at least one (eventSource answers 204 to a source that is null).",
    );
  }
  return [...new Set(channels.map(checkChannel))];
}

/** Where a subscription begins, and its signal, checked. */
export interface SubscribeSettings {
  readonly lastEventId: string | undefined;
  readonly from: "now" | "start";
  readonly signal: AbortSource | undefined;
  readonly onGap: (() => ServerSentEvent | undefined) | undefined;
}

/**
 * Checks the options of `subscribe`. Other keys are let be: an `EventStream` has some.
 *
 * @throws {EventStreamError} `ERR_INVALID_OPTION`, naming the option and its value
 */
export function checkSubscribeOptions(options: SubscribeOptions = {}): SubscribeSettings {
  if (typeof options !== "object" || options === null)
    invalid("options", options, "an object, such as eventSource's stream");
  const { lastEventId, from = "now", onGap } = options;
  // A stream's own is listened to as it is: nobody may ever need the AbortSignal.
  const signal = lazySignalOf(options) ?? options.signal;
  if (lastEventId !== undefined && typeof lastEventId !== "string")
    invalid("lastEventId", lastEventId, "a string, such as eventSource's stream.lastEventId");
  if (from !== "now" && from !== "start") invalid("from", from, '"now" or "start"');
  if (signal !== undefined && typeof signal?.addEventListener !== "function")
    invalid("signal", signal, "an AbortSignal");
  if (onGap !== undefined && typeof onGap !== "function")
    invalid("onGap", onGap, "a function that returns an event or undefined");
  return {
    // "If the last event ID is the empty string, then don't set": an empty one is none.
    lastEventId: lastEventId === "" ? undefined : lastEventId,
    from,
    signal,
    onGap,
  };
}

/** What a subscriber gets in place of events that are missing after `lastEventId`. */
export function gapEvent(
  onGap: SubscribeSettings["onGap"],
  lastEventId: string | undefined,
): ServerSentEvent | undefined {
  return onGap === undefined ? { event: "gap", data: { lastEventId } } : onGap();
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 1;
}

function invalid(name: string, value: unknown, must: string): never {
  throw new EventStreamError("ERR_INVALID_OPTION", `The option ${name} is ${show(value)}; it must be ${must}.`, {
    field: name,
  });
}
