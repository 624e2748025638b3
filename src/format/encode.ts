import { isFunction, option, type Option, readOptions } from "../checks.js";
import { frameOf } from "./encoded-event.js";
import type { EventStreamItem, LineEnding, Serialize, ServerSentEvent } from "./event.js";
import { checkComment, checkEvent, checkId, checkRetry, fieldsOf } from "./fields.js";
import { failedSerialize, invalidItem, invalidText, nothingToSend } from "./refusal.js";

/** The options of `encodeEvent`. */
export interface EncodeOptions {
  /**
   * How each line ends.
   *
   * `"\r"` is there only for completeness: a parser that waits to see whether an LF follows the CR holds each event
   * back until the next byte comes.
   *
   * @default "\n"
   */
  readonly lineEnding?: LineEnding | undefined;
  /**
   * Turns `data` that is neither a string nor a bigint into a string.
   *
   * @default JSON.stringify
   */
  readonly serialize?: Serialize | undefined;
}

/** The defaults and the checks of the options that `encodeEvent` shares with `eventSource`. */
export const encodeOptions: { readonly lineEnding: Option<LineEnding>; readonly serialize: Option<Serialize> } = {
  lineEnding: option<LineEnding>(
    "\n",
    (value) => value === "\n" || value === "\r\n" || value === "\r",
    '"\\n", "\\r\\n" or "\\r"',
  ),
  serialize: option<Serialize>(JSON.stringify, isFunction, "a function (data) => string"),
};

/**
 * Encodes one item as the frame of an event stream: `comment`, `id`, `event`, `data`, `retry`, in
 * this order, then a blank line. Pure: it needs no response and changes nothing.
 *
 * Text is never repaired and cannot forge a field or an event: each line of `data` and `comment`
 * becomes a line of its own, and a line break in `event` or `id` is refused. (A lone surrogate, which
 * UTF-8 cannot carry, arrives as U+FFFD, as everywhere on the web.)
 *
 * @param item any item but bytes
 * @returns the frame, such as `"id: 7\ndata: {\"n\":7}\n\n"`
 * @throws {EventStreamError} whose `code` says what is wrong and whose `field` names the place
 * @example encodeEvent({ event: "price", data: { eur: 9 } }); // 'event: price\ndata: {"eur":9}\n\n'
 */
export function encodeEvent(item: Exclude<EventStreamItem, Uint8Array>, options: EncodeOptions = {}): string {
  const { lineEnding, serialize } = readOptions("encodeEvent", options, encodeOptions);
  return encode(item, lineEnding, serialize);
}

/** Does the work of `encodeEvent` with options that have been checked. */
export function encode(item: unknown, lineEnding: LineEnding, serialize: Serialize): string {
  if (typeof item === "object" && item !== null) return encodeObject(item, lineEnding, serialize);
  if (item === undefined || item === null || typeof item === "function" || typeof item === "symbol") {
    throw invalidItem(item);
  }
  return dataLines("", item, lineEnding, serialize, lineEnding);
}

/**
 * Most events are plain objects with an `event`, an `id` and `data`. A busy server encodes hundreds of thousands of
 * them a second, so every check and every concatenation counts.
 */
function encodeObject(item: ServerSentEvent, lineEnding: LineEnding, serialize: Serialize): string {
  // A broker encodes an event once, with the default options, for all its subscribers.
  if (Object.getPrototypeOf(item) !== Object.prototype && lineEnding === "\n" && serialize === JSON.stringify) {
    const frame = frameOf(item);
    if (frame !== undefined) return frame;
  }
  const { comment, id, event, data, retry } = fieldsOf(item);
  let frame = comment === undefined ? "" : lines("", ": ", checkComment(comment), lineEnding);
  if (id !== undefined) frame += "id: " + checkId(id) + lineEnding;
  if (event !== undefined) frame += eventLine(event, lineEnding);
  const end = retry === undefined ? lineEnding : `retry: ${checkRetry(retry)}${lineEnding}${lineEnding}`;
  if (data !== undefined) return dataLines(frame, data, lineEnding, serialize, end);
  if (event !== undefined || (frame === "" && retry === undefined)) throw nothingToSend(item, event);
  return frame + end;
}

/**
 * The lines of recent event names. A stream has few names, and looking a line up is cheaper than checking and building
 * it.
 */
const eventLines = new Map<unknown, string>();

function eventLine(event: unknown, lineEnding: LineEnding): string {
  const known = lineEnding === "\n" ? eventLines.get(event) : undefined;
  if (known !== undefined) return known;
  const line = `event: ${checkEvent(event)}${lineEnding}`;
  if (lineEnding === "\n" && line.length <= 64) {
    // Bounded, because names may come from clients.
    if (eventLines.size === 64) eventLines.clear();
    // A copy: a substring would keep the long text that it was cut from in memory.
    const copy = JSON.parse(JSON.stringify(line)) as string;
    eventLines.set(copy.slice("event: ".length, -1), copy);
  }
  return line;
}

/** Returns `before`, then the lines of `data`, then `end`. */
function dataLines(before: string, data: unknown, lineEnding: LineEnding, serialize: Serialize, end: string): string {
  if (typeof data === "string") return lines(before, "data: ", data, lineEnding) + end;
  // JSON cannot express a bigint; its digits are what the application means.
  if (typeof data === "bigint") return `${before}data: ${data}${lineEnding}${end}`;
  const text = serialized(data, serialize);
  // JSON escapes every line break, so there is none to look for. The usual end is one constant, because each piece that
  // is joined costs 20 ns.
  if (serialize === JSON.stringify) return before + "data: " + text + (end === "\n" ? "\n\n" : lineEnding + end);
  return lines(before, "data: ", text, lineEnding) + end;
}

/** @throws {EventStreamError} `ERR_UNSERIALIZABLE_DATA` */
export function serialized(data: unknown, serialize: Serialize): string {
  let text: unknown;
  try {
    text = serialize(data);
  } catch (cause) {
    throw failedSerialize(data, cause);
  }
  if (typeof text !== "string") throw invalidText(data, text);
  return text;
}

/** "Lines must be separated by either a CRLF pair, a single LF, or a single CR": those three, and no other. */
const lineBreak = /\r\n|\n|\r/;

/** Returns `before`, then each line of `text` with `name` in front of it. */
function lines(before: string, name: ": " | "data: ", text: string, lineEnding: LineEnding): string {
  // Most text has one line, and two scans are far cheaper than a split.
  if (text.indexOf("\n") === -1 && text.indexOf("\r") === -1) return before + name + text + lineEnding;
  let out = before;
  for (const line of text.split(lineBreak)) out += name + line + lineEnding;
  return out;
}
