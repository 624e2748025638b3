import type { Row } from "./database.js";
import { type Head, headOf } from "./head.js";
import type { Place } from "./place.js";
import { storedName, textArray } from "./sql.js";
import { type Entry, entryOf } from "./tail.js";

/** A channel, and what is known of it. */
export interface Reading {
  readonly channel: string;
  readonly place: Place;
}

/** What is new there: no head where nothing is, or the channel does not exist. */
export interface Found {
  readonly head: Head | undefined;
  readonly entries: readonly Entry[];
  /** What made an event unreadable. */
  readonly error: unknown;
}

/** @param withEvents whether each channel that has changed comes with a page of its events, or only as it stands */
export function readStatement(s: string, readings: readonly Reading[], maxAge: number, withEvents: boolean): string {
  const names = textArray(readings.map(({ channel }) => storedName(channel)));
  const runs = textArray(readings.map(({ place }) => ("run" in place ? place.run : "")));
  const afters = textArray(readings.map(({ place }) => ("run" in place ? String(place.n) : "0")));
  return `SELECT * FROM ${s}.read(${names}, ${runs}, ${afters}::bigint[], ${maxAge}, ${withEvents})`;
}

/** What the rows of a `readStatement` say of each reading. */
export function foundIn(rows: readonly Row[], readings: readonly Reading[]): Found[] {
  const found: { head: Head | undefined; entries: Entry[]; error: unknown }[] = readings.map(() => ({
    head: undefined,
    entries: [],
    error: undefined,
  }));
  for (const row of rows) {
    const index = Number(row[0]) - 1;
    const one = found[index] as (typeof found)[number];
    const head = (one.head ??= headOf(row.slice(1)));
    const [at, n, payload] = row.slice(9);
    if (payload === null || payload === undefined || one.error !== undefined) continue;
    try {
      const { channel } = readings[index] as Reading;
      one.entries.push(entryOf(channel, head.run, Number(n), Number(at), payload));
    } catch (error) {
      one.error = error;
    }
  }
  return found;
}
