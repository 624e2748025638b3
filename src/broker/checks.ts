import { EventStreamError, show, unknownOption } from "../errors.js";
import type { ServerSentEvent } from "../format/event.js";
import { type AbortSource, lazySignalOf } from "../runtime/lazy-signal.js";
import type { HistoryOptions, ProduceOptions, SubscribeOptions } from "./broker.js";

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

/** How a channel is produced, checked and complete. */
export interface ProduceSettings {
  readonly lease: number;
  readonly onError: ((error: unknown) => unknown) | undefined;
}

const shortestLease = 1000;
const longestTimer = 2 ** 31 - 1;

/**
 * Checks the options of `produce` and fills in the defaults.
 *
 * @throws {EventStreamError} `ERR_INVALID_OPTION`, naming the option and its value
 */
export function checkProduceOptions(options: ProduceOptions = {}): ProduceSettings {
  if (typeof options !== "object" || options === null)
    invalid("options", options, "an object such as { lease: 15_000 }");
  const { lease = 15_000, onError, ...unknown } = options;
  const [stranger] = Object.keys(unknown);
  if (stranger !== undefined) throw unknownOption("produce", stranger, "lease and onError");
  if (!isCount(lease) || lease < shortestLease || lease > longestTimer)
    invalid("lease", lease, `a whole number of milliseconds from ${shortestLease} to ${longestTimer}`);
  if (onError !== undefined && typeof onError !== "function")
    invalid("onError", onError, "a function that returns an event, null for none, or undefined for the default");
  return { lease, onError };
}

/** @throws {EventStreamError} `ERR_INVALID_SOURCE` */
export function checkProducerSource(source: unknown): void {
  if (typeof source === "function") return;
  throw new EventStreamError(
    "ERR_INVALID_SOURCE",
    `The source is ${show(source)}; produce needs a function that returns an iterable, for it is called only if the channel has no producer yet.`,
  );
}

export function brokerClosed(): EventStreamError {
  return new EventStreamError(
    "ERR_BROKER_CLOSED",
    "The broker has been closed; close it after everything that publishes or subscribes.",
  );
}

export function channelEnded(channel: string): EventStreamError {
  return new EventStreamError(
    "ERR_CHANNEL_ENDED",
    `The channel ${show(channel)} has been ended; publish to another one, such as one for each answer.`,
  );
}

export function channelProduced(channel: string): EventStreamError {
  return new EventStreamError(
    "ERR_CHANNEL_PRODUCED",
    `The channel ${show(channel)} has a producer, which ends it; call stop() to end both.`,
  );
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
