import { EventStreamError, show } from "../errors.js";
import { encode, serialized } from "../format/encode.js";
import { EncodedEvent, frameOf } from "../format/encoded-event.js";
import { checkComment, checkEvent, checkRetry, fieldsOf } from "../format/fields.js";
import { nothingToSend } from "../format/refusal.js";
import type { PublishedEvent } from "./broker.js";

/**
 * What a broker keeps of an event: its fields as flat strings. A field that the event does not have is absent. `data`
 * is `text` if it was a string or a bigint, and `json` if it was anything else.
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
 * @throws {EventStreamError} the codes of `encodeEvent`, and `ERR_INVALID_FIELD` for an event with an `id` of its own
 */
export function encodeForPublishing(item: unknown): EventParts {
  if (typeof item !== "object" || item === null || Array.isArray(item)) {
    throw new EventStreamError("ERR_INVALID_ITEM", `${show(item)} cannot be published; write { data: … }.`);
  }
  const { comment, id, event, data, retry } = fieldsOf(item);
  if (id !== undefined) {
    throw new EventStreamError(
      "ERR_INVALID_FIELD",
      `The event's "id" is ${show(id)}; leave it out: a broker gives the ids, in the order of its log.`,
      { field: "id" },
    );
  }
  const parts: EventParts = {
    ...(comment === undefined ? {} : { comment: checkComment(comment) }),
    ...(event === undefined ? {} : { event: checkEvent(event) }),
    ...(data === undefined ? {} : dataPart(data)),
    ...(retry === undefined ? {} : { retry: String(checkRetry(retry)) }),
  };
  if (data === undefined && (event !== undefined || (comment === undefined && retry === undefined))) {
    throw nothingToSend(item, event);
  }
  return parts;
}

function dataPart(data: unknown): EventParts {
  if (typeof data === "string") return { text: data };
  // Kept as text, because a number that is parsed from JSON could not hold all its digits.
  if (typeof data === "bigint") return { text: String(data) };
  return { json: serialized(data, JSON.stringify) };
}

/**
 * Makes the event that subscribers get, and its frame, from `parts` and the broker's `id`. Nothing is serialized again.
 *
 * @throws {EventStreamError} if `encodeForPublishing` could not have made these parts
 */
export function publishedEvent(id: string, { comment, event, text, json, retry }: EventParts): PublishedEvent {
  const milliseconds = retry === undefined ? undefined : Number(retry);
  // Serialized JSON has no line breaks, so as a string it becomes one line of data.
  const frame = encode({ comment, id, event, data: json ?? text, retry: milliseconds }, "\n", JSON.stringify);
  return new StoredEvent(
    frame,
    id,
    comment,
    event,
    json === undefined ? text : { json, value: undefined },
    milliseconds,
  );
}

/** Makes the same event with another id. Only the id's line of the frame is written anew. */
export function withId(published: PublishedEvent, id: string): PublishedEvent {
  return StoredEvent.withId(published as StoredEvent, id);
}

/** The JSON text of `data` until it is first read; from then on, only the parsed value. */
interface LazyData {
  json: string | undefined;
  value: unknown;
}

/**
 * Defines `data` as an own property with a getter: `{ ...event }` copies its value, and a subscriber that never reads
 * it does not pay for parsing.
 */
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
  /** Shared with the same event under other ids, so that it is parsed once. */
  readonly #lazyData: LazyData | undefined;

  constructor(
    frame: string,
    id: string,
    comment: string | undefined,
    event: string | undefined,
    data: string | LazyData | undefined,
    retry: number | undefined,
  ) {
    super(frame);
    this.id = id;
    if (comment !== undefined) this.comment = comment;
    if (event !== undefined) this.event = event;
    if (typeof data === "string") this.data = data;
    else if (data !== undefined) {
      this.#lazyData = data;
      Object.defineProperty(this, "data", dataAccessor);
    }
    if (retry !== undefined) this.retry = retry;
    Object.freeze(this);
  }

  static dataOf(stored: StoredEvent): unknown {
    const lazy = stored.#lazyData as LazyData;
    if (lazy.json !== undefined) {
      lazy.value = parseFrozen(lazy.json);
      lazy.json = undefined;
    }
    return lazy.value;
  }

  static withId(stored: StoredEvent, id: string): StoredEvent {
    const { comment, event, retry } = stored;
    const frame = frameOf(stored) as string;
    const line = `id: ${stored.id}\n`;
    // Only comment lines come before the line of the id, and each of those begins with a colon.
    const at = comment === undefined ? 0 : frame.indexOf(`\n${line}`) + 1;
    const data = stored.#lazyData ?? (stored.data as string | undefined);
    return new StoredEvent(
      `${frame.slice(0, at)}id: ${id}\n${frame.slice(at + line.length)}`,
      id,
      comment,
      event,
      data,
      retry,
    );
  }
}

/** Not recursive, so that it can freeze whatever `JSON.stringify` could serialize, however deeply nested. */
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
