import { createHash } from "node:crypto";

/** What tells a channel from others in an event id, whatever its name is. */
interface Mark {
  /** Six characters of base 64. */
  readonly name: string;
  readonly count: number;
}

const marks = new Map<string, Mark>();

function markOf(key: string): Mark {
  let mark = marks.get(key);
  if (mark === undefined) {
    const hash = createHash("sha1").update(key).digest();
    mark = { name: hash.toString("base64url").slice(0, 6), count: (hash.readUInt32LE(8) % 999_999) + 1 };
    if (marks.size >= 10_000) marks.clear();
    marks.set(key, mark);
  }
  return mark;
}

export function channelTag(key: string): string {
  return markOf(key).name;
}

/**
 * The count of the first entry that a channel gets in a millisecond: each channel has its own, so that an ID is not
 * taken for that of another channel's entry, added in the same millisecond.
 */
export function firstCount(key: string): number {
  return markOf(key).count * 10_000;
}
