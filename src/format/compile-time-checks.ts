import type { EventStreamItem, ServerSentEvent } from "./event.js";

/**
 * All fields of an event are optional, so TypeScript takes a database row with an `id` for an event. The types in this
 * file give each wrong property a text as its type, so that the last line of the compiler's error says what to do.
 */

/** What may be streamed and is not an event object. */
type Plain = Exclude<EventStreamItem, ServerSentEvent>;

/** The keys that are not fields of an event. Methods do not count, because those of a class are not enumerable. */
type UnknownField<E> = {
  [Key in keyof E]-?: Key extends keyof ServerSentEvent
    ? never
    : E[Key] extends (...parameters: never) => unknown
      ? never
      : Key;
}[keyof E];

type EventOnly<E, Remedy extends string> = [UnknownField<E>] extends [never]
  ? E extends { readonly event: string }
    ? "data" extends keyof E
      ? ServerSentEvent
      : ServerSentEvent & { readonly data: "No browser dispatches an event without data: write data" }
    : ServerSentEvent
  : ServerSentEvent & { readonly [Key in UnknownField<E>]: `Not a field of an event: ${Remedy}` };

type StreamRemedy = "put your payload in data, or pass toEvent";

/** What an item of a stream must be assignable to. */
export type StreamableItem<Item> = Item extends Plain
  ? Plain
  : Item extends object
    ? keyof Item & keyof ServerSentEvent extends never
      ? `Not an event: ${StreamRemedy}`
      : EventOnly<Item, StreamRemedy>
    : `Not an event: ${StreamRemedy}`;

/** What a published event must be assignable to. */
export type PublishableEvent<E> = EventOnly<E, "put your payload in data"> & {
  readonly id?: "The broker gives the ids: leave id out" | undefined;
};

/**
 * What an iterable of events to publish must be assignable to. A generator that is declared to yield any
 * `ServerSentEvent` is accepted; its events are checked at run time.
 */
export type PublishableEvents<E> =
  | (AsyncIterable<E> & AsyncIterable<ServerSentEvent extends E ? E : PublishableEvent<E>>)
  | (Iterable<E> & Iterable<ServerSentEvent extends E ? E : PublishableEvent<E>>);
