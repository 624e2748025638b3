import {
  type Broker,
  encodeEvent,
  type HistoryOptions,
  type ServerSentEvent,
  type SubscribeOptions,
} from "express-event-source";
import { describe, expect, it, onTestFinished } from "vitest";
import { endsContract } from "./contract-ends.js";
import { interleavings } from "./interleavings.js";
import { dataOf, Reader } from "./reader.js";

/** What a broker has to bring to be held to the contract. */
export interface Subject {
  /** A broker with an empty store of its own. */
  open(history?: HistoryOptions): Broker | Promise<Broker>;
  /** Lets the store get older. */
  pass(milliseconds: number): Promise<void>;
  /** How many random interleavings are tried. */
  readonly runs: number;
}

export async function openBroker(subject: Subject, history?: HistoryOptions): Promise<Broker> {
  const broker = await subject.open(history);
  onTestFinished(() => broker.close());
  return broker;
}

export async function read(
  broker: Broker,
  channels: string | readonly string[],
  options?: SubscribeOptions,
): Promise<Reader> {
  return new Reader(await broker.subscribe(channels, options));
}

/** Publishes `count` events, their number as `data`. */
export async function publishMany(broker: Broker, channel: string, count: number): Promise<string[]> {
  return Promise.all(Array.from({ length: count }, (_, n) => broker.publish(channel, { data: n })));
}

/** Far more than `maxEvents: 10` keeps, even where a store trims in blocks. */
export const tooMany = 400;

/** Publishes so many, and resolves when this broker has heard of the last: a store may say so later than it resolves `publish`. */
async function overflow(broker: Broker, channel: string): Promise<void> {
  const witness = await read(broker, channel);
  await publishMany(broker, channel, tooMany);
  while ((await witness.take(1))[0]?.data !== tooMany - 1);
  await witness.return();
}

/** The promises of `Broker` that hold whatever keeps the events. */
export function brokerContract(name: string, subject: Subject): void {
  describe(`${name}: the contract of a broker`, () => {
    const open = (history?: HistoryOptions) => openBroker(subject, history);

    describe("publishing", () => {
      it("delivers what is published after subscribing, in order, once, to everyone", async () => {
        const broker = await open();
        const readers = [await read(broker, "a"), await read(broker, "a")];
        const ids = await publishMany(broker, "a", 50);
        for (const reader of readers) {
          const events = await reader.take(50);
          expect(dataOf(events)).toEqual(Array.from({ length: 50 }, (_, n) => n));
          expect(events.map(({ id }) => id)).toEqual(ids);
        }
        expect(new Set(ids).size).toBe(50);
      });

      it("gives waiting readers an event when it comes", async () => {
        const broker = await open();
        const reader = await read(broker, "a");
        for (let n = 0; n < 5; n++) {
          const next = reader.take(1);
          await broker.publish("a", { data: n });
          expect(dataOf(await next)).toEqual([n]);
        }
      });

      it("shows every field, data as JSON carries it, and the frame that encodeEvent makes of it", async () => {
        const broker = await open();
        const reader = await read(broker, "a");
        const sent = { comment: "c", event: "e", data: { at: new Date(0) }, retry: 5 };
        const id = await broker.publish("a", sent);
        await broker.publish("a", { data: "two\nlines" });
        const [event, text] = await reader.take(2);
        expect({ ...event }).toEqual({
          id,
          comment: "c",
          event: "e",
          data: { at: "1970-01-01T00:00:00.000Z" },
          retry: 5,
        });
        expect(Object.isFrozen(event)).toBe(true);
        expect(encodeEvent(event as { data: unknown })).toBe(encodeEvent({ ...sent, id }));
        expect(text?.data).toBe("two\nlines");
      });

      it("encodes at once: what happens to the object afterwards changes nothing", async () => {
        const broker = await open();
        const reader = await read(broker, "a");
        const data = { n: 1 };
        const published = broker.publish("a", { data });
        data.n = 2;
        await published;
        await reader.expectNext({ n: 1 });
      });

      it.each<[string, unknown, string]>([
        ["an id of its own", { id: "7", data: 1 }, "ERR_INVALID_FIELD"],
        ["an unknown field", { text: 1 }, "ERR_UNKNOWN_FIELD"],
        ["a payload that cannot be serialized", { data: [1n] }, "ERR_UNSERIALIZABLE_DATA"],
        ["a forged line", { event: "a\ndata: b" }, "ERR_INVALID_FIELD"],
        ["no data, which no browser would dispatch", { event: "done" }, "ERR_INVALID_FIELD"],
        ["no field", {}, "ERR_EMPTY_EVENT"],
        ["no object", "text", "ERR_INVALID_ITEM"],
      ])("rejects an event with %s, and nobody sees anything of it", async (_name, event, code) => {
        const broker = await open();
        const reader = await read(broker, "a");
        await expect(broker.publish("a", event as { data: unknown })).rejects.toMatchObject({ code });
        await broker.publish("a", { data: "after" });
        await reader.expectNext("after");
        await (await read(broker, "a", { from: "start" })).expectNext("after");
      });

      it("keeps channels apart, whatever their names", async () => {
        const broker = await open();
        const names = ["a", "a:b", "a*", "__proto__", "{a}", " ", "ä\n😀", "a\0"];
        const readers = await Promise.all(names.map((channel) => read(broker, channel)));
        for (const channel of names) await broker.publish(channel, { data: channel });
        for (const channel of names) await broker.publish(channel, { data: "last" });
        for (const [index, reader] of readers.entries()) await reader.expectNext(names[index], "last");
      });
    });

    describe("positions", () => {
      it('begins "now", or with everything that is held', async () => {
        const broker = await open();
        await publishMany(broker, "a", 3);
        const [now, start] = [await read(broker, "a"), await read(broker, "a", { from: "start" })];
        await broker.publish("a", { data: "new" });
        await now.expectNext("new");
        await start.expectNext(0, 1, 2, "new");
      });

      it("goes on just after a last event ID, wherever `from` points, and takes an empty one for none", async () => {
        const broker = await open();
        const ids = await publishMany(broker, "a", 5);
        for (const from of ["now", "start"] as const) {
          await (await read(broker, "a", { from, lastEventId: ids[2] })).expectNext(3, 4);
        }
        const [last, none] = [
          await read(broker, "a", { lastEventId: ids[4] }),
          await read(broker, "a", { lastEventId: "" }),
        ];
        await broker.publish("a", { data: "new" });
        await last.expectNext("new");
        await none.expectNext("new");
      });

      it.each([
        "0",
        "-1",
        "1",
        "99999999999999999999999999",
        "not an id",
        "1-",
        "-",
        "1-1-1",
        "NaN",
        "__proto__",
        "\0",
        "1e3",
        "18446744073709551615-18446744073709551615",
        "99999999999999-0",
        "x".repeat(100_000),
      ])("takes a made-up last event ID for a gap, then gives what is held (%#)", async (lastEventId) => {
        const broker = await open();
        await publishMany(broker, "a", 2);
        const events = await (await read(broker, "a", { lastEventId })).take(3);
        expect(dataOf(events)).toEqual(["gap", 0, 1]);
        expect(events[0]).toEqual({ event: "gap", data: { lastEventId } });
      });

      it("misses nothing that was published after it, though others subscribed later and read first", async () => {
        const broker = await open();
        const early = await read(broker, "a");
        await broker.publish("a", { data: 0 });
        const late = await read(broker, "a");
        const next = late.take(1);
        await early.expectNext(0);
        await broker.publish("a", { data: 1 });
        expect(dataOf([...(await next), ...(await early.take(1))])).toEqual([1, 1]);
      });

      it("takes an id of another channel for a gap", async () => {
        const broker = await open();
        const id = await broker.publish("other", { data: 1 });
        await broker.publish("a", { data: 0 });
        await (await read(broker, "a", { lastEventId: id })).expectNext("gap", 0);
      });

      it("says a gap where a client was away for too long, and goes on with what is held", async () => {
        const broker = await open({ maxEvents: 10 });
        const ids = await publishMany(broker, "a", tooMany);
        const reader = await read(broker, "a", { lastEventId: ids[0] });
        const [gap, first] = dataOf(await reader.take(2));
        expect(gap).toBe("gap");
        expect(first).toBeGreaterThan(1);
        expect(dataOf(await reader.take(tooMany - 1 - (first as number))).at(-1)).toBe(tooMany - 1);
      });

      it("says a gap to a reader that is too slow, with the last id it had", async () => {
        const broker = await open({ maxEvents: 10 });
        const reader = await read(broker, "a");
        const id = await broker.publish("a", { data: "first" });
        await reader.expectNext("first");
        await overflow(broker, "a");
        const [gap, next] = await reader.take(2);
        expect(gap).toEqual({ event: "gap", data: { lastEventId: id } });
        expect(next?.data).toBeGreaterThan(0);
      });

      it("lets onGap change or drop the gap, and hands on what it throws", async () => {
        const broker = await open();
        await broker.publish("a", { data: 0 });
        const withGap = (onGap: () => ServerSentEvent | undefined) => read(broker, "a", { lastEventId: "?", onGap });
        expect(await (await withGap(() => ({ event: "refetch" }))).take(2)).toMatchObject([
          { event: "refetch" },
          { data: 0 },
        ]);
        await (await withGap(() => undefined)).expectNext(0);
        const failing = await withGap(() => {
          throw new Error("no gap");
        });
        await expect(failing.next()).rejects.toThrow("no gap");
        expect(await failing.next()).toEqual({ done: true, value: undefined });
      });

      it('says a gap after "start" too, where the log moved on before the first was read', async () => {
        const broker = await open({ maxEvents: 10 });
        const reader = await read(broker, "a", { from: "start" });
        await overflow(broker, "a");
        const [gap, first] = dataOf(await reader.take(2));
        expect(gap).toBe("gap");
        expect(first).toBeGreaterThan(0);
      });

      it("forgets events that are older than maxAge", async () => {
        const broker = await open({ maxAge: 1_000 });
        const [first] = await publishMany(broker, "a", 2);
        await subject.pass(1_100);
        await broker.publish("a", { data: "new" });
        await (await read(broker, "a", { from: "start" })).expectNext("new");
        await (await read(broker, "a", { lastEventId: first })).expectNext("gap", "new");
      });
    });

    describe("several channels", () => {
      it("are one stream, each in its order, a name given twice read once", async () => {
        const broker = await open();
        const reader = await read(broker, ["a", "b", "a"]);
        for (let n = 0; n < 10; n++) await broker.publish(n % 3 === 0 ? "a" : "b", { data: n });
        const got = dataOf(await reader.take(10)) as number[];
        expect(got.filter((n) => n % 3 === 0)).toEqual([0, 3, 6, 9]);
        expect(got.filter((n) => n % 3 !== 0)).toEqual([1, 2, 4, 5, 7, 8]);
      });

      it("resume exactly from any of their ids", async () => {
        const broker = await open();
        const reader = await read(broker, ["a", "b"]);
        for (let n = 0; n < 10; n++) await broker.publish(n % 3 === 0 ? "a" : "b", { data: n });
        const events = await reader.take(10);
        for (const [index, { id }] of events.entries()) {
          if (index === 9) break;
          expect(dataOf(await (await read(broker, ["b", "a"], { lastEventId: id })).take(9 - index)).sort()).toEqual(
            dataOf(events.slice(index + 1)).sort(),
          );
        }
      });
    });

    describe("a client that has had nothing yet from one of its channels", () => {
      it.each([
        ["from the start", { from: "start" as const }, 1],
        ["after a gap", { lastEventId: "made up" }, 2],
      ])("%s, hears of what that channel lost while it was away", async (_when, options, before) => {
        const broker = await open({ maxEvents: 10 });
        await broker.publish("a", { data: "a" });
        const reader = await read(broker, ["a", "b"], options);
        const { id } = (await reader.take(before)).at(-1) as { id: string };
        reader.return();
        await publishMany(broker, "b", tooMany);
        const [gap, first] = dataOf(await (await read(broker, ["a", "b"], { ...options, lastEventId: id })).take(2));
        expect(gap).toBe("gap");
        expect(first).toBeGreaterThan(0);
      });

      it("hears of what aged out there", async () => {
        const broker = await open({ maxAge: 1_000 });
        await broker.publish("a", { data: "a" });
        const reader = await read(broker, ["a", "b"], { from: "start" });
        const { id } = (await reader.take(1))[0] as { id: string };
        reader.return();
        await broker.publish("b", { data: "lost" });
        await subject.pass(1_100);
        await broker.publish("b", { data: "kept" });
        await (await read(broker, ["a", "b"], { lastEventId: id })).expectNext("gap", "kept");
      });
    });

    endsContract(subject);
    interleavings(
      "any interleaving is free of gaps and duplicates, or says a gap exactly where something is missing",
      subject,
    );
  });
}
