import { type ChannelStatus, statusOf } from "./channel-status.js";
import type { Row } from "./database.js";
import { type Entry, entryOf } from "./entry.js";
import type { Place } from "./place.js";
import { storedName, textArray } from "./sql.js";

/** A channel, and the place after which to read. */
export interface ReadRequest {
  readonly channel: string;
  readonly place: Place;
}

/** What a read has found after the place. */
export interface ReadResult {
  /** `undefined` where nothing has changed, or the channel does not exist. */
  readonly status: ChannelStatus | undefined;
  /** Whether the channel, in a run of which the place was, does not exist any more. */
  readonly isGone: boolean;
  readonly entries: readonly Entry[];
  /** The error of the event after these, if it cannot be read. */
  readonly error: unknown;
}

/** @param withEvents whether to get a page of the events of each channel that has changed, or its status only */
export function readStatement(
  s: string,
  requests: readonly ReadRequest[],
  maxAge: number,
  withEvents: boolean,
): string {
  const names = textArray(requests.map(({ channel }) => storedName(channel)));
  const runs = textArray(requests.map(({ place }) => ("run" in place ? place.run : "")));
  const afters = textArray(requests.map(({ place }) => ("run" in place ? String(place.n) : "0")));
  return `SELECT * FROM ${s}.read(${names}, ${runs}, ${afters}::bigint[], ${maxAge}, ${withEvents})`;
}

/** The result of each request, from the rows of their `readStatement`. */
export function resultsOf(rows: readonly Row[], requests: readonly ReadRequest[]): ReadResult[] {
  const results: { status: ChannelStatus | undefined; isGone: boolean; entries: Entry[]; error: unknown }[] =
    requests.map(() => ({ status: undefined, isGone: false, entries: [], error: undefined }));
  for (const row of rows) {
    const index = Number(row[0]) - 1;
    const result = results[index] as (typeof results)[number];
    if (row[1] === null) {
      result.isGone = true;
      continue;
    }
    const status = (result.status ??= statusOf(row.slice(1)));
    const [at, n, payload] = row.slice(9);
    if (payload === null || payload === undefined || result.error !== undefined) continue;
    try {
      const { channel } = requests[index] as ReadRequest;
      result.entries.push(entryOf(channel, status.run, Number(n), Number(at), payload));
    } catch (error) {
      result.error = error;
    }
  }
  return results;
}
