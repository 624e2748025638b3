import { createHash } from "node:crypto";
import { before, isBefore, isId, timeOf } from "./entry.js";

/**
 * Where a subscription stands in a channel: after the entry of this ID, or (`"start"`) before everything that is held.
 */
export type Position = string;

/**
 * The last event ID of a subscription to several channels: for each a mark of its name and its
 * position, in base 36, such as `k3JfQam1x2c3d4-1~9Zt0_qm1x2c3d5`. Printable ASCII, so that it survives a
 * header, and as short as it can be: the client sends it with every reconnection.
 */
export function composeId(positions: Iterable<readonly [channel: string, position: Position]>): string {
  let id = "";
  for (const [channel, position] of positions) id += `${id === "" ? "" : "~"}${markOf(channel)}${pack(position)}`;
  return id;
}

/** The position of each of `channels` that a last event ID tells; without those that it does not tell. */
export function positionsIn(id: string, channels: readonly string[]): Map<string, Position> {
  const found = new Map<string, Position>();
  const [only] = channels;
  if (isId(id)) {
    // The ID of an entry does not say of which channel it is; in another one it is found to be unknown.
    if (only !== undefined && channels.length === 1) found.set(only, id);
    return found;
  }
  const marked = new Map<string, Position>();
  // A client can make it as long as a header; what is wanted is one for each channel.
  for (const part of id.split("~", 4096)) {
    const position = unpack(part.slice(markLength));
    if (position !== undefined) marked.set(part.slice(0, markLength), position);
  }
  for (const channel of channels) {
    const position = marked.get(markOf(channel));
    if (position !== undefined) found.set(channel, position);
  }
  return found;
}

const markLength = 6;
const marks = new Map<string, string>();

function markOf(channel: string): string {
  let mark = marks.get(channel);
  if (mark === undefined) {
    mark = createHash("sha1").update(channel).digest("base64url").slice(0, markLength);
    if (marks.size >= 10_000) marks.clear();
    marks.set(channel, mark);
  }
  return mark;
}

function pack(position: Position): string {
  if (position === "start") return "";
  if (isBefore(position)) return `${(timeOf(position) + 1).toString(36)}*`;
  const [time, count] = position.split("-") as [string, string];
  return BigInt(time).toString(36) + (count === "0" ? "" : `-${BigInt(count).toString(36)}`);
}

function unpack(text: string): Position | undefined {
  if (text === "") return "start";
  const match = /^([0-9a-z]{1,10})(?:-([0-9a-z]{1,12})|(\*))?$/.exec(text);
  if (match === null) return undefined;
  const [, time, count, star] = match;
  const milliseconds = Number.parseInt(time as string, 36);
  if (star !== undefined) return before(milliseconds);
  const id = `${milliseconds}-${count === undefined ? 0 : fromBase36(count)}`;
  return isId(id) ? id : undefined;
}

function fromBase36(text: string): bigint {
  let value = 0n;
  for (const digit of text) value = value * 36n + BigInt(Number.parseInt(digit, 36));
  return value;
}
