import type { PublishedEvent } from "express-event-source";
import { expect } from "vitest";

/** Reads a subscription by hand: as many events as a test wants, or all there will ever be. */
export class Reader {
  readonly #iterator: AsyncIterator<PublishedEvent>;

  constructor(subscription: AsyncIterable<PublishedEvent>) {
    this.#iterator = subscription[Symbol.asyncIterator]();
  }

  next(): Promise<IteratorResult<PublishedEvent>> {
    return this.#iterator.next();
  }

  /** The next `count` events. */
  async take(count: number): Promise<PublishedEvent[]> {
    const events: PublishedEvent[] = [];
    while (events.length < count) {
      const result = await this.next();
      if (result.done === true) throw new Error(`The subscription ended after ${events.length} of ${count} events.`);
      events.push(result.value);
    }
    return events;
  }

  /** Expects that the next events have these data, in this order. `"gap"` stands for a gap. */
  async expectNext(...data: unknown[]): Promise<void> {
    expect(dataOf(await this.take(data.length))).toEqual(data);
  }

  /** Everything until the subscription ends. */
  async rest(): Promise<PublishedEvent[]> {
    const events: PublishedEvent[] = [];
    for (let result = await this.next(); result.done !== true; result = await this.next()) events.push(result.value);
    return events;
  }

  /** Expects that the subscription ends after events with these data. */
  async expectRest(...data: unknown[]): Promise<void> {
    expect(dataOf(await this.rest())).toEqual(data);
  }

  return(): unknown {
    return this.#iterator.return?.();
  }
}

/** What tests compare: the data of an event, `"gap"` for a gap. */
export function dataOf(events: readonly PublishedEvent[]): unknown[] {
  return events.map((event) => (event.id === undefined ? event.event : event.data));
}
