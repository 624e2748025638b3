import { EventStreamError, show } from "../errors.js";
import { encode } from "../format/encode.js";
import { EncodedEvent } from "../format/encoded-event.js";
import type { ServerSentEvent } from "../format/event.js";
import type { PublishedEvent } from "./broker.js";

/**
 * What a broker keeps of an event: its fields as flat strings, each absent where the event has none.
 * `data` is `text` where it was a string and `json` where it was anything else.
 */
export interface EventParts {
  readonly comment?: string;
  readonly event?: string;
  readonly text?: string;
  readonly json?: string;
  readonly retry?: string;
}

/**
 * Checks and serializes an event, once for all its subscribers.
 *
 * @throws {EventStreamError} the codes of `encodeEvent`, and `ERR_INVALID_FIELD` for an event that brings its own `id`
 */
export function encodeForPublishing(event: unknown): EventParts {
  if (typeof event !== "object" || event === null) {
    throw new EventStreamError("ERR_INVALID_ITEM", `${show(event)} cannot be published; write { data: … }.`);
  }
  const { comment, id, event: type, data, retry } = event as ServerSentEvent;
  if (id !== undefined) {
    throw new EventStreamError(
      "ERR_INVALID_FIELD",
      `The event's "id" is ${show(id)}; leave it out: a broker gives the ids, in the order of its log.`,
      { field: "id" },
    );
  }
  let json: string | undefined;
  // The format room checks it, and what its serialize makes is kept, so that data is serialized once.
  encode(event, "\n", (value) => (json = JSON.stringify(value)));
  return {
    ...(comment === undefined ? {} : { comment }),
    ...(type === undefined ? {} : { event: type }),
    ...(json === undefined ? {} : { json }),
    ...(typeof data === "string" ? { text: data } : {}),
    ...(retry === undefined ? {} : { retry: String(retry) }),
  };
}

/** The event that subscribers get: `parts` under the broker's `id`, its frame composed, nothing serialized again. */
export function publishedEvent(id: string, parts: EventParts): PublishedEvent {
  return new StoredEvent(id, parts);
}

/** `data` is an accessor of the object's own: `{ ...event }` copies it, and who never looks pays for no parsing. */
const dataAccessor: PropertyDescriptor = {
  enumerable: true,
  get(this: StoredEvent) {
    return StoredEvent.dataOf(this);
  },
};

class StoredEvent extends EncodedEvent {
  readonly id: string;
  declare readonly comment?: string;
  declare readonly event?: string;
  declare readonly data?: unknown;
  declare readonly retry?: number;
  /** The JSON text, until somebody looks; then what it says. */
  #data: { json: string } | { value: unknown } | undefined;

  constructor(id: string, { comment, event, text, json, retry }: EventParts) {
    const milliseconds = retry === undefined ? undefined : Number(retry);
    // JSON has no line breaks: as data it is one line, and nothing is left to serialize.
    super(encode({ comment, id, event, data: json ?? text, retry: milliseconds }, "\n", JSON.stringify));
    this.id = id;
    if (comment !== undefined) this.comment = comment;
    if (event !== undefined) this.event = event;
    if (text !== undefined) this.data = text;
    if (json !== undefined) {
      this.#data = { json };
      Object.defineProperty(this, "data", dataAccessor);
    }
    if (milliseconds !== undefined) this.retry = milliseconds;
    Object.freeze(this);
  }

  static dataOf(event: StoredEvent): unknown {
    const held = event.#data as { json: string } | { value: unknown };
    if ("value" in held) return held.value;
    const value = parseFrozen(held.json);
    event.#data = { value };
    return value;
  }
}

/** Without recursion: what `JSON.stringify` could nest can be frozen. */
function parseFrozen(json: string): unknown {
  const root: unknown = JSON.parse(json);
  const found = [root];
  for (const value of found) {
    if (typeof value !== "object" || value === null) continue;
    Object.freeze(value);
    for (const inner of Object.values(value)) if (typeof inner === "object" && inner !== null) found.push(inner);
  }
  return root;
}
