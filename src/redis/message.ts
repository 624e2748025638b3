import { type Entry, readEntry } from "./entry.js";

/** What the script that stores an entry says of it. */
export interface Message {
  readonly database: number;
  readonly id: string;
  readonly after: string;
  /** JSON of its fields; empty where they are too long. */
  readonly fields: string;
}

const pattern = /^(\d+) (\d+-\d+) (\d+-\d+) /;

/** `undefined` where it is none of ours: anyone may publish to any channel. */
export function readMessage(text: string): Message | undefined {
  const match = pattern.exec(text);
  if (match === null) return undefined;
  const [all, database, id, after] = match as unknown as [string, string, string, string];
  return { database: Number(database), id, after, fields: text.slice(all.length) };
}

/** @throws where the fields are none of ours */
export function entryOf(key: string, { id, after, fields }: Message): Entry {
  return readEntry(key, [id, ["after", after, ...(JSON.parse(fields) as string[])]]);
}
