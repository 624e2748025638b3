import { EventStreamError, show, unknownOption } from "../errors.js";
import { frameOf } from "./encoded-event.js";
import type { EventStreamItem, LineEnding, Serialize, ServerSentEvent } from "./event.js";

/** How `encodeEvent` writes. */
export interface EncodeOptions {
  /**
   * How each line ends.
   *
   * `"\r"` is for completeness: a parser that must see whether LF follows a CR holds each event back
   * until the next byte comes.
   *
   * @default "\n"
   */
  readonly lineEnding?: LineEnding | undefined;
  /**
   * Turns `data` that is not a string into one.
   *
   * @default JSON.stringify
   */
  readonly serialize?: Serialize | undefined;
}

/**
 * Encodes one item as the frame of an event stream: `comment`, `id`, `event`, `data`, `retry`, in
 * this order, then a blank line. Pure: it needs no response and keeps nothing.
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
  if (typeof options !== "object" || options === null) {
    throw new EventStreamError(
      "ERR_INVALID_OPTION",
      `The options of encodeEvent are ${show(options)}; they must be an object.`,
    );
  }
  const { lineEnding = "\n", serialize = JSON.stringify, ...unknown } = options;
  const [stranger] = Object.keys(unknown);
  if (stranger !== undefined) {
    throw unknownOption("encodeEvent", stranger, '"lineEnding" and "serialize"');
  }
  checkLineEnding(lineEnding);
  checkSerialize(serialize);
  return encode(item, lineEnding, serialize);
}

/** The work of `encodeEvent`, for callers that have checked their options once and for all. */
export function encode(item: unknown, lineEnding: LineEnding, serialize: Serialize): string {
  switch (typeof item) {
    case "string":
      return lines("data: ", item, lineEnding) + lineEnding;
    case "number":
    case "boolean":
      return dataLines(item, lineEnding, serialize) + lineEnding;
    case "bigint":
      // JSON has no word for it, and its digits are what everyone means.
      return `data: ${item}${lineEnding}${lineEnding}`;
    case "object":
      if (item !== null) return encodeObject(item, lineEnding, serialize);
  }
  throw new EventStreamError(
    "ERR_INVALID_ITEM",
    `${show(item)} cannot be sent as an event; write { data: … }, or filter it out.`,
  );
}

function encodeObject(item: ServerSentEvent, lineEnding: LineEnding, serialize: Serialize): string {
  // The frame that a broker shares among its subscribers is the one that the defaults would make.
  if (lineEnding === "\n" && serialize === JSON.stringify) {
    const frame = frameOf(item);
    if (frame !== undefined) return frame;
  }
  for (const key in item) if (!isField(key)) throw unknownField(item, key);
  const { comment, id, event, data, retry } = item;
  let frame = "";
  if (comment !== undefined) frame += lines(": ", checkComment(comment), lineEnding);
  if (id !== undefined) frame += `id: ${checkId(id)}${lineEnding}`;
  if (event !== undefined) frame += `event: ${checkEvent(event)}${lineEnding}`;
  if (data !== undefined)
    frame += typeof data === "string" ? lines("data: ", data, lineEnding) : dataLines(data, lineEnding, serialize);
  if (retry !== undefined) frame += `retry: ${checkRetry(retry)}${lineEnding}`;
  if (frame === "") throw emptyEvent(item);
  return frame + lineEnding;
}

function dataLines(data: unknown, lineEnding: LineEnding, serialize: Serialize): string {
  let text: unknown;
  try {
    text = serialize(data);
  } catch (cause) {
    throw new EventStreamError(
      "ERR_UNSERIALIZABLE_DATA",
      `serialize failed for the data ${show(data)}; give it a value that it can turn into text, or pass another serialize.`,
      { field: "data", cause },
    );
  }
  if (typeof text !== "string") {
    throw new EventStreamError(
      "ERR_UNSERIALIZABLE_DATA",
      `serialize turned the data ${show(data)} into ${show(text)} instead of a string; leave the field out, or send null or "".`,
      { field: "data" },
    );
  }
  // JSON escapes every line break: there is nothing to look for.
  return serialize === JSON.stringify ? `data: ${text}${lineEnding}` : lines("data: ", text, lineEnding);
}

/** "Lines must be separated by either a CRLF pair, a single LF, or a single CR": those three, and no other. */
const lineBreak = /\r\n|\n|\r/;

function lines(prefix: string, text: string, lineEnding: LineEnding): string {
  // Two scans are far cheaper than a split, and most text has one line.
  if (text.indexOf("\n") === -1 && text.indexOf("\r") === -1) return prefix + text + lineEnding;
  let out = "";
  for (const line of text.split(lineBreak)) out += prefix + line + lineEnding;
  return out;
}

function isField(key: string): boolean {
  return key === "data" || key === "event" || key === "id" || key === "retry" || key === "comment";
}

function checkComment(comment: unknown): string {
  if (typeof comment !== "string") throw invalidField("comment", comment, "a string");
  return comment;
}

function checkId(id: unknown): string {
  if (typeof id === "number" && Number.isFinite(id)) return String(id);
  if (typeof id !== "string") throw invalidField("id", id, "a string or a finite number");
  if (hasLineBreak(id)) throw invalidField("id", id, "one line: it holds a CR or LF, which would start another field");
  // "If the field value does not contain U+0000 NULL, then set the last event ID": the browser would drop it.
  if (id.includes("\0")) throw invalidField("id", id, "free of NUL: the browser ignores an id that has one");
  return id;
}

function checkEvent(event: unknown): string {
  if (typeof event !== "string") throw invalidField("event", event, "a string");
  if (hasLineBreak(event))
    throw invalidField("event", event, "one line: it holds a CR or LF, which would start another field");
  return event;
}

/** "If the field value consists of only ASCII digits": the browser would drop anything else. */
export function checkRetry(retry: unknown): number {
  if (typeof retry !== "number" || !Number.isSafeInteger(retry) || retry < 0) {
    throw invalidField("retry", retry, "a whole number of milliseconds, 0 or more");
  }
  return retry;
}

export function checkLineEnding(lineEnding: unknown): void {
  if (lineEnding !== "\n" && lineEnding !== "\r\n" && lineEnding !== "\r") {
    throw new EventStreamError(
      "ERR_INVALID_OPTION",
      `lineEnding is ${show(lineEnding)}; it must be "\\n", "\\r\\n" or "\\r".`,
      { field: "lineEnding" },
    );
  }
}

export function checkSerialize(serialize: unknown): void {
  if (typeof serialize !== "function") {
    throw new EventStreamError(
      "ERR_INVALID_OPTION",
      `serialize is ${show(serialize)}; it must be a function (data) => string.`,
      { field: "serialize" },
    );
  }
}

function hasLineBreak(text: string): boolean {
  return text.indexOf("\n") !== -1 || text.indexOf("\r") !== -1;
}

function invalidField(field: string, value: unknown, must: string): EventStreamError {
  return new EventStreamError("ERR_INVALID_FIELD", `The event's "${field}" is ${show(value)}; it must be ${must}.`, {
    field,
  });
}

function unknownField(item: object, key: string): EventStreamError {
  if (item instanceof Uint8Array) return bytes();
  return new EventStreamError(
    "ERR_UNKNOWN_FIELD",
    `${show(key)} is not a field of an event (data, event, id, retry, comment); put your payload in data: { data: ${show(item)} }.`,
    { field: key },
  );
}

function emptyEvent(item: object): EventStreamError {
  if (item instanceof Uint8Array) return bytes();
  const remedy =
    typeof (item as { then?: unknown }).then === "function"
      ? "await it first"
      : "put your payload in data: { data: … }";
  return new EventStreamError(
    "ERR_EMPTY_EVENT",
    `${show(item)} has none of the fields data, event, id, retry, comment; ${remedy}.`,
  );
}

function bytes(): EventStreamError {
  return new EventStreamError(
    "ERR_INVALID_ITEM",
    "Bytes cannot be encoded as an event; decode them into a string first.",
  );
}
