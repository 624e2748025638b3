import { hasProperty } from "../checks.js";
import { EventStreamError, show } from "../errors.js";

/** The errors for items that cannot be sent: each says why, and what to write instead. This code need not be fast. */

export function invalidField(field: string, value: unknown, must: string): EventStreamError {
  return new EventStreamError("ERR_INVALID_FIELD", `The event's "${field}" is ${show(value)}; it must be ${must}.`, {
    field,
  });
}

/** For an item of a type that is never an event. */
export function invalidItem(item: unknown, remedy = "write { data: … }, or filter it out"): EventStreamError {
  return new EventStreamError("ERR_INVALID_ITEM", `${show(item)} cannot be sent as an event; ${remedy}.`);
}

export function unknownField(item: object, key: string): EventStreamError {
  return (
    commonMistake(item) ??
    new EventStreamError(
      "ERR_UNKNOWN_FIELD",
      `${show(key)} is not a field of an event (data, event, id, retry, comment); put your payload in data: { data: ${show(item)} }.`,
      { field: key },
    )
  );
}

/** For an event without `data` and without any other field that could be sent alone. */
export function nothingToSend(item: object, event: unknown): EventStreamError {
  // "If the data buffer is an empty string, set the data buffer and the event type buffer to the empty string and
  // return."
  if (event !== undefined) {
    return new EventStreamError(
      "ERR_INVALID_FIELD",
      `The event ${show(event)} has no data, and no browser dispatches an event without data; write data: "".`,
      { field: "data" },
    );
  }
  const problem = hasProperty(item, "data")
    ? `The data of ${show(item)} is undefined, so there is nothing to send; send null or "", or leave the event out.`
    : `${show(item)} has none of the fields data, event, id, retry, comment; put your payload in data: { data: … }.`;
  return commonMistake(item) ?? new EventStreamError("ERR_EMPTY_EVENT", problem);
}

export function failedSerialize(data: unknown, cause: unknown): EventStreamError {
  return new EventStreamError(
    "ERR_UNSERIALIZABLE_DATA",
    `serialize failed for the data ${show(data)}; give it a value that it can turn into text, or pass another serialize.`,
    { field: "data", cause },
  );
}

export function invalidText(data: unknown, text: unknown): EventStreamError {
  return new EventStreamError(
    "ERR_UNSERIALIZABLE_DATA",
    `serialize turned the data ${show(data)} into ${show(text)} instead of a string; leave the field out, or send null or "".`,
    { field: "data" },
  );
}

/** For objects that are often yielded by mistake; `undefined` for any other. */
function commonMistake(item: object): EventStreamError | undefined {
  const remedy =
    item instanceof Uint8Array
      ? "decode the bytes into a string first"
      : Array.isArray(item)
        ? "pass toEvent: ([value]) => … to send what is in it, as for events.on(), or put it in data"
        : typeof (item as { then?: unknown }).then === "function"
          ? "await the promise first"
          : undefined;
  return remedy === undefined ? undefined : invalidItem(item, remedy);
}
