import type { PublishedEvent } from "../broker/broker.js";
import { type EventParts, publishedEvent } from "../broker/published-event.js";
import { EventStreamError } from "../errors.js";

/** One entry of a channel's stream: an event, or the mark that the channel has ended. */
export interface Entry {
  readonly id: string;
  /** The ID of the entry that was the newest when this one was added: how a gap is recognised, exactly. */
  readonly after: string;
  /** `undefined` in the end mark. */
  readonly event: PublishedEvent | undefined;
  readonly parts: EventParts;
}

/** An entry that is an event. */
export interface EventEntry extends Entry {
  readonly event: PublishedEvent;
}

/** What `after` is in the first entry of a stream. */
export const origin = "0-0";

const fields: ReadonlySet<string> = new Set<keyof EventParts | "after" | "end">([
  "after",
  "end",
  "comment",
  "event",
  "text",
  "json",
  "retry",
]);

/** An entry as Redis replies it: its ID, then names and values in turn. */
export type RawEntry = readonly [id: string, fields: readonly string[]];

/** @throws {EventStreamError} `ERR_FOREIGN_ENTRY` */
export function readEntry(key: string, [id, raw]: RawEntry): Entry {
  const { after, end, ...parts }: EventParts & { after?: string; end?: string } = pairs(key, id, raw);
  const isOurs = after !== undefined && (after === origin || isId(after)) && raw.length > 2;
  if (!isOurs) throw foreign(key, id);
  if (end !== undefined) return { id, after, event: undefined, parts };
  try {
    return { id, after, event: publishedEvent(id, parts), parts };
  } catch (cause) {
    throw foreign(key, id, cause);
  }
}

function pairs(key: string, id: string, raw: readonly string[]): Record<string, string> {
  const found: Record<string, string> = {};
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at] as string;
    if (!fields.has(name)) throw foreign(key, id);
    found[name] = raw[at + 1] as string;
  }
  return found;
}

function foreign(key: string, id: string, cause?: unknown): EventStreamError {
  return new EventStreamError(
    "ERR_FOREIGN_ENTRY",
    `The entry ${id} of the stream ${JSON.stringify(key)} was not written by a broker; give the broker a prefix of its own, or delete the entry.`,
    { cause },
  );
}

/** Small enough for Redis, which refuses what does not fit 64 bits, and never written in two ways. */
const idPattern = /^[1-9]\d{0,15}-(?:0|[1-9]\d{0,18})$/;

export function isId(id: string): boolean {
  return idPattern.test(id);
}

/** Negative where `a` is older. */
export function compareIds(a: string, b: string): number {
  const [aTime, aCount] = a.split("-") as [string, string];
  const [bTime, bCount] = b.split("-") as [string, string];
  return compareDigits(aTime, bTime) || compareDigits(aCount, bCount);
}

function compareDigits(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

/** When an entry was added, in milliseconds of the Redis server's clock. */
export function timeOf(id: string): number {
  return Number.parseInt(id, 10);
}

const lastCount = "-18446744073709551615";

/**
 * The position just before `time` in a channel that holds nothing. No entry ever has this ID, so it
 * is not taken for one that has been lost.
 */
export function before(time: number): string {
  return `${time - 1}${lastCount}`;
}

export function isBefore(position: string): boolean {
  return position.endsWith(lastCount);
}
