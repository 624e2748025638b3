import type { PublishedEvent } from "../broker/broker.js";
import { type EventParts, publishedEvent } from "../broker/published-event.js";
import { EventStreamError } from "../errors.js";

/** One entry of a channel's stream: an event, or the mark that the channel has ended. */
export interface Entry {
  readonly id: string;
  /** The ID of the entry that was the newest when this one was added. It shows exactly where there is a gap. */
  readonly after: string;
  /** `undefined` in the end mark. */
  readonly event: PublishedEvent | undefined;
}

/** An entry that is an event. */
export interface EventEntry extends Entry {
  readonly event: PublishedEvent;
}

/** The ID before every entry. It is the position in an empty channel, and `after` in the first entry of a stream. */
export const origin = "0-0";

const fields: ReadonlySet<string> = new Set<keyof EventParts | "after" | "by" | "end">([
  "after",
  "by",
  "end",
  "comment",
  "event",
  "text",
  "json",
  "retry",
]);

/** An entry as Redis returns it: its ID, then names and values in turn. */
export type RawEntry = readonly [id: string, fields: readonly string[]];

/** @throws {EventStreamError} `ERR_FOREIGN_ENTRY` */
export function readEntry(key: string, [id, raw]: RawEntry): Entry {
  const { after, end, ...parts }: EventParts & { after?: string; by?: string; end?: string } = pairs(key, id, raw);
  const isOurs = after !== undefined && (after === origin || isId(after)) && raw.length > 2;
  if (!isOurs) throw foreign(key, id);
  if (end !== undefined) return { id, after, event: undefined };
  try {
    return { id, after, event: publishedEvent(id, parts) };
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
    `The entry ${id} of the stream ${JSON.stringify(key)} was not written by a broker; ` +
      "give the broker a prefix of its own, or delete the entry.",
    { cause },
  );
}

/** Matches only IDs that Redis accepts (64 bits), and only one spelling of each. */
const idPattern = /^[1-9]\d{0,15}-(?:0|[1-9]\d{0,18})$/;

export function isId(id: string): boolean {
  return idPattern.test(id);
}

/** Negative if `a` is older. */
export function compareIds(a: string, b: string): number {
  const [aDash, bDash] = [a.indexOf("-"), b.indexOf("-")];
  // Times have no leading zeros, so the one with fewer digits is older.
  if (aDash !== bDash) return aDash - bDash;
  return a.length === b.length
    ? compareText(a, b)
    : compareText(a.slice(0, aDash), b.slice(0, bDash)) || a.length - b.length;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** When an entry was added, in milliseconds of the Redis server's clock. */
export function timeOf(id: string): number {
  return Number.parseInt(id, 10);
}

/** An ID before all entries of this time, and after all that are older. No entry ever has it. */
export function before(time: number): string {
  return `${time - 1}-18446744073709551615`;
}

/** Where a subscription is in a channel: after the entry with this ID, or before everything. */
export interface Position {
  readonly id: string;
  /**
   * When this was last known to be the newest entry, in milliseconds of the server's clock. It tells expired keys from
   * lost ones.
   */
  readonly confirmed: number;
}

/**
 * Whether no entry can have been added between a position and `time`, at which the channel was found empty or began
 * anew. This is so only if such an entry would still be there at `time`, and the key of the position's own entry, if it
 * has one, could have expired by then: a key that is gone earlier was lost.
 */
export function isUnbroken({ id, confirmed }: Position, time: number, timeToLive: number): boolean {
  return time < confirmed + timeToLive && (id === origin || time >= timeOf(id) + timeToLive);
}

/** Whether the entry `id`, whose predecessor is `after`, is the next one after a position. */
export function isNext(after: string, position: Position, id: string, timeToLive: number): boolean {
  return after === origin ? isUnbroken(position, timeOf(id), timeToLive) : after === position.id;
}
