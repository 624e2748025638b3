import { before, isBefore, isId, timeOf } from "./entry.js";
import { firstCount, channelTag } from "./channel-tag.js";

/** Where a subscription stands in a channel: after the entry of this ID. */
export type Position = string;

/**
 * The last event ID of a subscription to several channels: for each a mark of its key, and its position in base 36,
 * such as `k3JfQam1x2c3d4~9Zt0_qm1x2c3d5-1`. Printable ASCII, so that it survives a header, and as short as it can be:
 * the client sends it with every reconnection.
 */
export function composeId(positions: Iterable<readonly [key: string, position: Position]>): string {
  let id = "";
  for (const [key, position] of positions) id += `${id === "" ? "" : "~"}${channelTag(key)}${pack(key, position)}`;
  return id;
}

/** The position of each of the channels that a last event ID tells; without those that it does not tell. */
export function positionsIn(id: string, keys: readonly string[]): Map<string, Position> {
  const found = new Map<string, Position>();
  if (isId(id)) {
    // Of another channel, it will not be known there.
    const [only] = keys;
    return keys.length === 1 && only !== undefined ? found.set(only, id) : found;
  }
  const parts = new Map<string, string>();
  // A client can make it as long as a header.
  for (const part of id.split("~", 4096)) parts.set(part.slice(0, markLength), part.slice(markLength));
  for (const key of keys) {
    const part = parts.get(channelTag(key));
    const position = part === undefined ? undefined : unpack(key, part);
    if (position !== undefined) found.set(key, position);
  }
  return found;
}

const markLength = 6;

function pack(key: string, position: Position): string {
  if (isBefore(position)) return `${(timeOf(position) + 1).toString(36)}*`;
  const [time, count] = position.split("-") as [string, string];
  const further = BigInt(count) - BigInt(firstCount(key));
  return (
    BigInt(time).toString(36) +
    (further === 0n ? "" : further > 0n ? `-${further.toString(36)}` : `_${BigInt(count).toString(36)}`)
  );
}

function unpack(key: string, text: string): Position | undefined {
  const match = /^([0-9a-z]{1,10})(\*|(?:([-_])([0-9a-z]{1,12}))?)$/.exec(text);
  if (match === null) return undefined;
  const [, time, rest, sign, count] = match as unknown as [
    string,
    string,
    string,
    string | undefined,
    string | undefined,
  ];
  const milliseconds = Number.parseInt(time, 36);
  if (rest === "*") return milliseconds > 0 ? before(milliseconds) : undefined;
  const id = `${milliseconds}-${(sign === "_" ? 0n : BigInt(firstCount(key))) + fromBase36(count ?? "0")}`;
  return isId(id) ? id : undefined;
}

function fromBase36(text: string): bigint {
  let value = 0n;
  for (const digit of text) value = value * 36n + BigInt(Number.parseInt(digit, 36));
  return value;
}
