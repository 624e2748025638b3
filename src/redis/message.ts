import { type Entry, readEntry } from "./entry.js";

/** The message that the script publishes when it has stored an entry. */
export interface Message {
  readonly database: number;
  readonly id: string;
  readonly after: string;
  /** The entry's fields as JSON, or empty if they are too long. */
  readonly fields: string;
}

const pattern = /^(\d+) (\d+-\d+) (\d+-\d+) /;

/**
 * `undefined` if the text names no entry: it may tell of a producer's claim, and anyone may publish to any channel.
 */
export function readMessage(text: string): Message | undefined {
  const match = pattern.exec(text);
  if (match === null) return undefined;
  const [all, database, id, after] = match as unknown as [string, string, string, string];
  return { database: Number(database), id, after, fields: text.slice(all.length) };
}

/** @throws if no broker wrote the fields */
export function entryOf(key: string, { id, after, fields }: Message): Entry {
  return readEntry(key, [id, ["after", after, ...(JSON.parse(fields) as string[])]]);
}
