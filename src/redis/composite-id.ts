import { channelTag } from "./channel-tag.js";
import { isId, origin, type Position, timeOf } from "./entry.js";

/** A channel's place in a composite id. */
export interface Part {
  readonly tag: string;
  readonly firstCount: number;
  readonly position: Position;
}

/**
 * The last event ID of a subscription to several channels, such as `k3JfQam1x2c3d4.2s~9Zt0_qm1x2c3d5-1`. It has a part
 * for each channel: the tag of the channel's key, the ID of the last entry that was read (in base 36), and the number
 * of seconds for which that entry was known to be the newest, unless it is 0. If the channel was empty, the tag is
 * followed by `*` and the time at which it was last known to be empty.
 *
 * It is printable ASCII, to survive a header, and short, because the client sends it with every reconnection.
 */
export function composeId(parts: readonly Part[]): string {
  let id = "";
  for (const part of parts) id += `${id === "" ? "" : "~"}${part.tag}${pack(part)}`;
  return id;
}

/** The positions that a last event ID gives for these channels. A channel that it does not mention is left out. */
export function positionsIn(id: string, keys: readonly string[]): Map<string, Position> {
  const found = new Map<string, Position>();
  if (isId(id)) {
    // If the ID is from another channel, it will turn out to be unknown in this one.
    const [only] = keys;
    return keys.length === 1 && only !== undefined ? found.set(only, { id, confirmed: timeOf(id) }) : found;
  }
  const parts = new Map<string, string>();
  // The limit bounds the work: a client can send an ID as long as a header may be.
  for (const part of id.split("~", 4096)) parts.set(part.slice(0, tagLength), part.slice(tagLength));
  for (const key of keys) {
    const { name, firstCount } = channelTag(key);
    const part = parts.get(name);
    const position = part === undefined ? undefined : unpack(firstCount, part);
    if (position !== undefined) found.set(key, position);
  }
  return found;
}

const tagLength = 6;

function pack({ firstCount, position: { id, confirmed } }: Part): string {
  if (id === origin) return `*${confirmed.toString(36)}`;
  const dash = id.indexOf("-");
  const time = Number(id.slice(0, dash));
  // A count may be too large for a double to hold exactly.
  const count = BigInt(id.slice(dash + 1));
  const further = count - BigInt(firstCount);
  const seconds = Math.floor((confirmed - time) / 1000);
  return (
    time.toString(36) +
    (further === 0n ? "" : further > 0n ? `-${further.toString(36)}` : `_${count.toString(36)}`) +
    (seconds > 0 ? `.${seconds.toString(36)}` : "")
  );
}

const pattern = /^([0-9a-z]{1,10})(?:([-_])([0-9a-z]{1,12}))?(?:\.([0-9a-z]{1,7}))?$/;

function unpack(firstCount: number, text: string): Position | undefined {
  if (text.startsWith("*")) {
    const empty = /^\*([0-9a-z]{1,10})$/.exec(text);
    return empty === null ? undefined : { id: origin, confirmed: Number.parseInt(empty[1] as string, 36) };
  }
  const match = pattern.exec(text);
  if (match === null) return undefined;
  const [, time, sign, count, seconds] = match as unknown as [string, string, string?, string?, string?];
  const milliseconds = Number.parseInt(time, 36);
  const id = `${milliseconds}-${(sign === "_" ? 0n : BigInt(firstCount)) + fromBase36(count ?? "0")}`;
  if (!isId(id)) return undefined;
  return { id, confirmed: milliseconds + Number.parseInt(seconds ?? "0", 36) * 1000 };
}

function fromBase36(text: string): bigint {
  let value = 0n;
  for (const digit of text) value = value * 36n + BigInt(Number.parseInt(digit, 36));
  return value;
}
