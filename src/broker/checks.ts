import { invalidOption, isFunction, isPlainObject, option, type Option, property, readOptions } from "../checks.js";
import { EventStreamError, show } from "../errors.js";
import type { ServerSentEvent } from "../format/event.js";
import type { AbortSource } from "../runtime/lazy-signal.js";
import { LiveEventStream } from "../source/event-stream.js";
import type { ProduceOptions, SubscribeOptions } from "./broker.js";

/** How much of each channel is kept, checked and complete. */
export interface History {
  readonly maxEvents: number;
  readonly maxAge: number;
}

const historyTable: { readonly [Name in keyof History]: Option<number> } = {
  maxEvents: option(1000, isCount, "a whole number of events, 1 or more"),
  maxAge: option(300_000, isCount, "a whole number of milliseconds, 1 or more"),
};

/** The option `history` of every broker. */
export const historyOption: Option<History> = {
  default: readOptions<History>("history", {}, historyTable),
  read(value, name) {
    if (!isPlainObject(value)) {
      throw invalidOption(name, value, "a plain object such as { maxEvents: 1000, maxAge: 300_000 }");
    }
    return readOptions<History>(name, value, historyTable, `${name}.`);
  },
};

const longestName = 512;

/**
 * Checks the name of a channel. It often comes from a URL, so a stranger's name must not be long enough to cost much,
 * and it must survive encoding as UTF-8 on its way to a store.
 *
 * @throws {EventStreamError} `ERR_INVALID_CHANNEL`
 */
export function checkChannel(channel: unknown): string {
  if (typeof channel === "string" && channel !== "" && channel.length <= longestName && !/\p{Surrogate}/u.test(channel))
    return channel;
  throw new EventStreamError(
    "ERR_INVALID_CHANNEL",
    `The channel is ${show(channel)}; its name must be a well-formed string of 1 to ${longestName} UTF-16 units${typeof channel === "string" && channel.length > longestName ? `, and has ${channel.length}` : ""}.`,
    { status: 400 },
  );
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
      { status: 400 },
    );
  }
  return [...new Set(channels.map(checkChannel))];
}

/** The options of `subscribe`, checked. */
export interface SubscribeSettings {
  readonly lastEventId: string | undefined;
  readonly from: "now" | "start";
  readonly signal: AbortSource | undefined;
  readonly onGap: (() => ServerSentEvent | undefined) | undefined;
}

/**
 * Checks the options of `subscribe`. Other keys are ignored, because an `EventStream` has some.
 *
 * @throws {EventStreamError} `ERR_INVALID_OPTION`, naming the option and its value
 */
export function checkSubscribeOptions(options: SubscribeOptions = {}): SubscribeSettings {
  if (typeof options !== "object" || options === null) {
    throw new EventStreamError(
      "ERR_INVALID_OPTION",
      `The options of subscribe are ${show(options)}; they must be an object, such as eventSource's stream.`,
      { field: "options" },
    );
  }
  const lastEventId = read(
    options,
    "lastEventId",
    (value) => typeof value === "string",
    "a string, such as eventSource's stream.lastEventId",
  );
  const from = read(options, "from", (value) => value === "now" || value === "start", '"now" or "start"');
  const onGap = read(options, "onGap", isFunction, "a function that returns an event or undefined");
  checkForSlips(options);
  // Reading a stream's `signal` would create an AbortSignal, which takes as much memory as the rest of an idle stream.
  const signal = LiveEventStream.endOf(options) ?? read(options, "signal", isSignal, "an AbortSignal");
  // An EventSource does not send an empty last event ID, so an empty string counts as no ID.
  return { lastEventId: lastEventId === "" ? undefined : lastEventId, from: from ?? "now", signal, onGap };
}

function read<Name extends keyof SubscribeOptions>(
  options: SubscribeOptions,
  name: Name,
  isValid: (value: unknown) => boolean,
  must: string,
): SubscribeOptions[Name] {
  const value = property(options, name);
  if (value !== undefined && !isValid(value)) throw invalidOption(name, value, must);
  return value as SubscribeOptions[Name];
}

function isSignal(value: unknown): boolean {
  return typeof (value as Partial<AbortSignal> | null)?.addEventListener === "function";
}

const subscribeOptions = ["lastEventId", "from", "signal", "onGap"];

/** Refuses a key that only looks like an option: with `lastEventID`, say, clients would silently get no replay. */
function checkForSlips(options: object): void {
  for (const name of Object.keys(options)) {
    if (subscribeOptions.includes(name)) continue;
    const meant = subscribeOptions.find((known) => plain(known) === plain(name));
    if (meant !== undefined) {
      throw new EventStreamError("ERR_INVALID_OPTION", `subscribe has no option ${show(name)}; write ${meant}.`, {
        field: name,
      });
    }
  }
}

function plain(name: string): string {
  return name.replaceAll("_", "").toLowerCase();
}

/** How a channel is produced, checked and complete. */
export interface ProduceSettings {
  readonly lease: number;
  readonly onError: ((error: unknown) => unknown) | undefined;
}

const shortestLease = 1000;
const longestTimer = 2 ** 31 - 1;

const produceTable: { readonly [Name in keyof ProduceSettings]: Option<ProduceSettings[Name]> } = {
  lease: option(
    15_000,
    (value) => isCount(value) && (value as number) >= shortestLease && (value as number) <= longestTimer,
    `a whole number of milliseconds from ${shortestLease} to ${longestTimer}`,
  ),
  onError: option<ProduceSettings["onError"]>(
    undefined,
    isFunction,
    "a function that returns an event, null for none, or undefined for the default",
  ),
};

/**
 * Checks the options of `produce` and fills in the defaults.
 *
 * @throws {EventStreamError} `ERR_INVALID_OPTION`, naming the option and its value
 */
export function checkProduceOptions(options: ProduceOptions = {}): ProduceSettings {
  return readOptions<ProduceSettings>("produce", options, produceTable);
}

/** @throws {EventStreamError} `ERR_INVALID_SOURCE` */
export function checkProducerSource(source: unknown): void {
  if (typeof source === "function") return;
  throw new EventStreamError(
    "ERR_INVALID_SOURCE",
    `The source is ${show(source)}; produce needs a function that returns an iterable, ` +
      "for it is called only if the channel has no producer yet.",
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
