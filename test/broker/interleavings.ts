import { setImmediate as turn } from "node:timers/promises";
import type { Broker } from "express-event-source";
import fc from "fast-check";
import { expect, it } from "vitest";
import type { Subject } from "./contract.js";

/** What a client has seen: the events' places in their channels, and where it was told that some are missing. */
type Seen = { channel: string; index: number } | "gap";

/** The channels as they were published, and what may have been forgotten of them. */
class World {
  readonly published = new Map<string, number>();
  readonly ended = new Set<string>();

  constructor(readonly broker: Broker) {}

  count(channel: string): number {
    return this.published.get(channel) ?? 0;
  }

  async publish(channel: string, count: number): Promise<void> {
    for (let n = 0; n < count; n++) {
      if (this.ended.has(channel)) return;
      const index = this.count(channel);
      this.published.set(channel, index + 1);
      await this.broker.publish(channel, { data: { channel, index } });
    }
  }

  async end(channel: string): Promise<void> {
    this.ended.add(channel);
    await this.broker.end(channel);
  }
}

/** A client that reads only as much as it is allowed, drops, and comes back with the last id it saw. */
class Client {
  #seen: Seen[] = [];
  #lastEventId: string | undefined;
  /** For each channel, where its first event must be; `undefined`: anywhere, it asked for what is held. */
  #begin = new Map<string, number | undefined>();
  #allowed = 0;
  #allow: (() => void) | undefined;
  #controller: AbortController | undefined;
  #reading: Promise<void> = Promise.resolve();
  isDone = false;

  constructor(
    readonly world: World,
    readonly channels: string[],
    readonly from: "now" | "start",
  ) {}

  async connect(): Promise<void> {
    if (this.#controller !== undefined) return;
    const { world, channels, from } = this;
    this.#controller = new AbortController();
    const { signal } = this.#controller;
    const subscription = await world.broker.subscribe(channels, { from, signal, lastEventId: this.#lastEventId });
    if (this.#lastEventId === undefined) {
      this.#seen = [];
      this.#begin = new Map(channels.map((channel) => [channel, from === "now" ? world.count(channel) : undefined]));
    }
    this.#reading = this.#read(subscription, signal);
  }

  async #read(
    subscription: AsyncIterable<{ id?: string | undefined; data?: unknown }>,
    signal: AbortSignal,
  ): Promise<void> {
    this.isDone = false;
    const iterator = subscription[Symbol.asyncIterator]();
    while (!signal.aborted) {
      if (this.#allowed === 0) {
        await new Promise<void>((resolve) => (this.#allow = resolve));
        continue;
      }
      this.#allowed -= 1;
      const { done, value } = await iterator.next();
      if (done === true) break;
      this.#seen.push(value.id === undefined ? "gap" : (value.data as Seen));
      this.#lastEventId = value.id ?? this.#lastEventId;
    }
    this.isDone = !signal.aborted;
  }

  allow(count: number): void {
    this.#allowed = count;
    this.#allow?.();
  }

  async disconnect(): Promise<void> {
    this.#controller?.abort();
    this.#allow?.();
    await this.#reading;
    this.#controller = undefined;
  }

  /** Reads to the last event of each channel, which a log always holds. */
  async drain(): Promise<void> {
    await this.connect();
    this.allow(Infinity);
    const isComplete = () =>
      this.channels.every((channel) => {
        const last = this.world.count(channel) - 1;
        return (
          last < (this.#begin.get(channel) ?? 0) ||
          this.#seen.some((seen) => seen !== "gap" && seen.channel === channel && seen.index === last)
        );
      });
    // A bound against hanging: a broker behind a network takes its time.
    const limit = performance.now() + 15_000;
    while (!isComplete()) {
      if (performance.now() > limit)
        throw new Error(`The end of ${this.channels.join()} never came: ${JSON.stringify(this.#seen)}`);
      await turn();
    }
    if (this.channels.every((channel) => this.world.ended.has(channel))) await this.#reading;
    await this.disconnect();
  }

  /** Holds what it has seen against what was published. */
  check(isExact: boolean): void {
    const next = new Map(this.#begin);
    const gaps: { isTrue: boolean }[] = [];
    /** The gaps that each channel has been told of since its last event. */
    const told = new Map<string, { isTrue: boolean }[]>();
    for (const [position, seen] of this.#seen.entries()) {
      if (seen === "gap") {
        if (this.#seen[position - 1] === "gap") continue;
        const gap = { isTrue: false };
        gaps.push(gap);
        for (const channel of this.channels) told.set(channel, [...(told.get(channel) ?? []), gap]);
        continue;
      }
      const { channel, index } = seen;
      const expected = next.get(channel);
      const toldOf = told.get(channel) ?? [];
      if (expected === undefined || index > expected) for (const gap of toldOf) gap.isTrue = true;
      if (expected !== undefined) {
        expect(
          index,
          `an event of ${channel} twice or out of order: ${JSON.stringify(this.#seen)}`,
        ).toBeGreaterThanOrEqual(expected);
        if (toldOf.length === 0)
          expect(index, `events of ${channel} lost in silence: ${JSON.stringify(this.#seen)}`).toBe(expected);
      }
      next.set(channel, index + 1);
      told.set(channel, []);
    }
    if (isExact)
      expect(
        gaps.filter(({ isTrue }) => !isTrue),
        `a gap where nothing is missing: ${JSON.stringify(this.#seen)}`,
      ).toEqual([]);
  }
}

const channel = fc.constantFrom("a", "b", "c");
const client = fc.nat({ max: 3 });
const steps = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ do: fc.constant("publish" as const), channel, count: fc.integer({ min: 1, max: 6 }) }),
    },
    {
      weight: 5,
      arbitrary: fc.record({ do: fc.constant("read" as const), client, count: fc.integer({ min: 1, max: 6 }) }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("connect" as const), client }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("disconnect" as const), client }) },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant("age" as const), milliseconds: fc.constantFrom(50, 250, 1_500) }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("end" as const), channel }) },
  ),
  { minLength: 5, maxLength: 60 },
);
const clients = fc.array(
  fc.record({
    channels: fc.uniqueArray(channel, { minLength: 1 }),
    from: fc.constantFrom("now" as const, "start" as const),
  }),
  { minLength: 4, maxLength: 4 },
);

/**
 * Clients that connect, read slowly, drop and come back, while events are published, evicted and
 * channels ended. With `isAging` time passes too; then logs are forgotten, and a gap too many is allowed.
 */
export function interleavings(name: string, subject: Subject, { isAging = false } = {}): void {
  it(name, { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 8 }), clients, steps, async (maxEvents, plans, moves) => {
        const broker = await subject.open(isAging ? { maxEvents, maxAge: 400 } : { maxEvents });
        const world = new World(broker);
        const all = plans.map(({ channels, from }) => new Client(world, channels, from));
        try {
          for (const move of moves) {
            if (move.do === "publish") await world.publish(move.channel, move.count);
            else if (move.do === "end") {
              if (!isAging) await world.end(move.channel);
            } else if (move.do === "age") {
              if (isAging) await subject.pass(move.milliseconds);
            } else {
              const actor = all[move.client] as Client;
              if (move.do === "read") actor.allow(move.count);
              else await actor[move.do]();
            }
            await turn();
          }
          for (const name of ["a", "b", "c"]) await world.publish(name, 1);
          for (const each of all) await each.drain();
          for (const each of all) each.check(!isAging);
        } finally {
          for (const each of all) await each.disconnect();
          await broker.close();
        }
      }),
      // Within the test's own time: a run that hangs, or one whose shrinking takes too long, is reported with its steps.
      { numRuns: subject.runs, plugins: [fc.interruptAfterTimeLimit(90_000, { failOnInterrupt: true })] },
    );
  });
}
