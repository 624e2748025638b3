import { hasProperty, property } from "../checks.js";
import type { ServerSentEvent } from "./event.js";
import { invalidField, unknownField } from "./refusal.js";

/**
 * Checks the names of an event's fields, and returns it without fields that come from `Object.prototype` (prototype
 * pollution). If there are none, it returns `item` itself and has not read a field's value.
 *
 * @throws {EventStreamError} `ERR_UNKNOWN_FIELD`
 */
export function fieldsOf(item: object): ServerSentEvent {
  for (const key in item) if (!isField(key) && hasProperty(item, key)) throw unknownField(item, key);
  return isPolluted() ? ownFields(item) : item;
}

function isField(key: string): boolean {
  return key === "data" || key === "event" || key === "id" || key === "retry" || key === "comment";
}

/** Whether `Object.prototype` has been given a field, which every object then seems to have. */
function isPolluted(): boolean {
  const root = Object.prototype;
  return "data" in root || "event" in root || "id" in root || "retry" in root || "comment" in root;
}

function ownFields(item: object): ServerSentEvent {
  const field = (name: keyof ServerSentEvent): never => property(item, name) as never;
  return {
    comment: field("comment"),
    id: field("id"),
    event: field("event"),
    data: field("data"),
    retry: field("retry"),
  };
}

/** @throws {EventStreamError} `ERR_INVALID_FIELD`, as all checks of fields do */
export function checkComment(comment: unknown): string {
  if (typeof comment !== "string") throw invalidField("comment", comment, "a string");
  return comment;
}

export function checkId(id: unknown): string | number {
  if (typeof id === "number" && Number.isFinite(id)) return id;
  if (typeof id !== "string") throw invalidField("id", id, "a string or a finite number");
  if (hasLineBreak(id)) throw invalidField("id", id, "one line: it holds a CR or LF, which would start another field");
  // "If the field value does not contain U+0000 NULL, then set the last event ID": the browser would drop it.
  if (id.indexOf("\0") !== -1) throw invalidField("id", id, "free of NUL: the browser ignores an id that has one");
  return id;
}

export function checkEvent(event: unknown): string {
  if (typeof event !== "string") throw invalidField("event", event, "a string");
  if (hasLineBreak(event)) {
    throw invalidField("event", event, "one line: it holds a CR or LF, which would start another field");
  }
  return event;
}

/** "If the field value consists of only ASCII digits": the browser would drop anything else. */
export function checkRetry(retry: unknown): number {
  if (typeof retry !== "number" || !Number.isSafeInteger(retry) || retry < 0) {
    throw invalidField("retry", retry, "a whole number of milliseconds, 0 or more");
  }
  return retry;
}

function hasLineBreak(text: string): boolean {
  return text.indexOf("\n") !== -1 || text.indexOf("\r") !== -1;
}
