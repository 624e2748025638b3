import { setImmediate as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { encodeEvent, type HistoryOptions, memoryBroker, type ServerSentEvent } from "express-event-source";
import { afterEach, beforeEach, describe, expect, expectTypeOf, it, onTestFinished, vi } from "vitest";
import { Log } from "../../src/broker/log.js";
import { brokerContract, openBroker, publishMany, read, type Subject } from "./contract.js";
import { interleavings } from "./interleavings.js";
import { dataOf, type Reader } from "./reader.js";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

const memory: Subject = {
  open: (history) => memoryBroker({ history }),
  pass: async (milliseconds) => void (await vi.advanceTimersByTimeAsync(milliseconds)),
  runs: 100,
};

brokerContract("memoryBroker", memory);
interleavings("memoryBroker: loses nothing in silence where events age and channels are forgotten", memory, { isAging: true });

const open = (history?: HistoryOptions) => openBroker(memory, history);

describe("memoryBroker: ids and gaps", () => {
  it("puts the run into its ids: after a restart they are unknown", async () => {
    const before = await open();
    const ids = await publishMany(before, "a", 3);
    const after = await open();
    await publishMany(after, "a", 3);
    expect(dataOf(await (await read(after, "a", { lastEventId: ids[1] })).take(4))).toEqual(["gap", 0, 1, 2]);
  });

  it("says a gap exactly from the event on that is missing", async () => {
    const broker = await open({ maxEvents: 2 });
    const ids = await publishMany(broker, "a", 5);
    const after = async (index: number) => dataOf(await (await read(broker, "a", { lastEventId: ids[index] })).take(2));
    expect(await after(1)).toEqual(["gap", 3]);
    expect(await after(2)).toEqual([3, 4]);
  });

  it("says a gap once, then all that was held when it was said, and a further one only for further losses", async () => {
    const broker = await open({ maxEvents: 2 });
    const reader = await read(broker, ["a", "b"]);
    await publishMany(broker, "a", 2);
    await publishMany(broker, "b", 3);
    expect(dataOf(await reader.take(2))).toEqual(["gap", 0]);
    await broker.publish("a", { data: "a" });
    await broker.publish("a", { data: "aa" });
    expect(dataOf(await reader.take(5))).toEqual(["gap", 1, 2, "a", "aa"]);
  });

  it("never repeats, after a gap in one channel, what a client had from another", async () => {
    const broker = await open({ maxEvents: 2 });
    const reader = await read(broker, ["a", "b"]);
    await broker.publish("a", { data: "a" });
    const [, { id } = {}] = [await broker.publish("b", { data: "b" }), ...(await reader.take(2)).slice(1)];
    await publishMany(broker, "b", 3);
    expect(dataOf(await (await read(broker, ["a", "b"], { lastEventId: id })).take(3))).toEqual(["gap", 1, 2]);
  });

  it("merges channels in the order of their publishing", async () => {
    const broker = await open();
    for (let n = 0; n < 9; n++) await broker.publish("abc"[n % 3] as string, { data: n });
    expect(dataOf(await (await read(broker, ["c", "b", "a"], { from: "start" })).take(9))).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  });

  it("gives all subscribers one object", async () => {
    const broker = await open();
    const readers = [await read(broker, "a"), await read(broker, ["a", "b"])];
    await broker.publish("a", { data: {} });
    const [[one], [other]] = [await (readers[0] as Reader).take(1), await (readers[1] as Reader).take(1)];
    expect(one).toBe(other);
  });

  it("takes its position before the promise resolves, and needs no reading for that", async () => {
    const broker = await open();
    const subscribing = read(broker, "a");
    await broker.publish("a", { data: 0 });
    expect(dataOf(await (await subscribing).take(1))).toEqual([0]);
  });
});

describe("memoryBroker: forgetting", () => {
  it("keeps one timer for all channels, and none when they have aged out", async () => {
    const broker = await open({ maxAge: 1_000 });
    const reader = await read(broker, "waiting");
    void reader.next();
    await publishMany(broker, "a", 3);
    await broker.end("b");
    expect(vi.getTimerCount()).toBe(1);
    await reader.return();
    await memory.pass(3_000);
    expect(vi.getTimerCount()).toBe(0);
    await broker.publish("a", { data: 1 });
    expect(vi.getTimerCount()).toBe(1);
    await broker.close();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("takes no id from before for a current one", async () => {
    const broker = await open({ maxAge: 1_000 });
    const [first, last] = await publishMany(broker, "a", 2);
    await memory.pass(3_000);
    expect(dataOf(await (await read(broker, "a", { lastEventId: first, onGap: () => ({ event: "gap" }) })).take(1))).toEqual(["gap"]);
    await broker.publish("a", { data: "new" });
    for (const lastEventId of [first, last]) {
      expect(dataOf(await (await read(broker, "a", { lastEventId })).take(2))).toEqual(["gap", "new"]);
    }
  });

  it("never forgets a channel that somebody waits for, and says no gap there", async () => {
    const broker = await open({ maxAge: 1_000 });
    const reader = await read(broker, ["a", "never"]);
    await broker.publish("a", { data: 0 });
    const [{ id } = {}] = await reader.take(1);
    const next = reader.take(1);
    await broker.publish("other", { data: 0 });
    await memory.pass(60_000);
    await broker.publish("never", { data: "late" });
    expect(dataOf(await next)).toEqual(["late"]);
    await reader.return();
    await memory.pass(700);
    await broker.publish("a", { data: 1 });
    expect(dataOf(await (await read(broker, ["a"], { lastEventId: id })).take(1))).toEqual([1]);
  });

  it("gives nobody an event that is too old, whether or not it has been swept away", async () => {
    const broker = await open({ maxAge: 1_000 });
    const lagging = await read(broker, "a");
    await broker.publish("a", { data: "swept" });
    await memory.pass(100);
    await broker.publish("a", { data: "old" });
    await memory.pass(1_050);
    const late = await read(broker, "a", { from: "start" });
    await broker.end("a");
    expect(await late.rest()).toEqual([]);
    expect(dataOf(await lagging.rest())).toEqual(["gap"]);
  });

  it("tells a reader that lags in a channel that is forgotten, whatever is forgotten after it", async () => {
    const broker = await open({ maxAge: 1_000 });
    const waiting = await read(broker, "old");
    const lagging = await read(broker, "a");
    await broker.publish("old", { data: 0 });
    await waiting.take(1);
    void waiting.next();
    await publishMany(broker, "a", 2);
    expect(dataOf(await lagging.take(1))).toEqual([0]);
    await memory.pass(3_000);
    await waiting.return();
    await memory.pass(3_000);
    await broker.publish("a", { data: "new" });
    expect(dataOf(await lagging.take(2))).toEqual(["gap", "new"]);
  });

  it("keeps the mark of an end for maxAge after the end, not after the last event", async () => {
    const broker = await open({ maxAge: 1_000 });
    await broker.publish("a", { data: 0 });
    await memory.pass(900);
    await broker.end("a");
    await memory.pass(900);
    await expect(broker.publish("a", { data: 1 })).rejects.toMatchObject({ code: "ERR_CHANNEL_ENDED" });
  });

  it("lets the process end while it holds events", async () => {
    vi.useRealTimers();
    const timers = vi.spyOn(globalThis, "setInterval");
    const broker = await open();
    await broker.publish("a", { data: 0 });
    expect(timers.mock.results.map(({ value }) => (value as NodeJS.Timeout).hasRef())).toEqual([false]);
    timers.mockRestore();
  });

  it("keeps the mark of an end while somebody waits for it beside another channel", async () => {
    const broker = await open({ maxAge: 1_000 });
    await broker.end("a");
    const everything = (await read(broker, ["a", "b"])).rest();
    await memory.pass(10_000);
    await expect(broker.publish("a", { data: 1 })).rejects.toMatchObject({ code: "ERR_CHANNEL_ENDED" });
    await broker.end("b");
    expect(await everything).toEqual([]);
  });
});

describe("memoryBroker: cost", () => {
  it("serializes an event once, for however many subscribers, and their streams not again", async () => {
    const broker = await open();
    const readers = await Promise.all(Array.from({ length: 50 }, () => read(broker, "a")));
    const toJSON = vi.fn(() => ({ n: 1 }));
    await broker.publish("a", { data: { toJSON } });
    for (const reader of readers) {
      const [event] = await reader.take(1);
      expect(encodeEvent(event as ServerSentEvent)).toBe(`id: ${event?.id}\ndata: {"n":1}\n\n`);
    }
    expect(toJSON).toHaveBeenCalledTimes(1);
  });

  it("has one listener on a signal for each subscription, and none after its end", async () => {
    const broker = await open();
    const { signal } = new AbortController();
    const added = vi.spyOn(signal, "addEventListener");
    const removed = vi.spyOn(signal, "removeEventListener");
    const reader = await read(broker, ["a", "b"], { signal });
    for (let n = 0; n < 20; n++) {
      const next = reader.take(1);
      await broker.publish("a", { data: n });
      await next;
    }
    expect(added).toHaveBeenCalledTimes(1);
    await broker.end("a");
    await broker.end("b");
    await reader.rest();
    expect(removed).toHaveBeenCalledWith("abort", added.mock.calls[0]?.[1]);
  });

  it("takes as many steps for a position among 100,000 events as a search by halves", async () => {
    const log = new Log({ maxEvents: 200_000, maxAge: 1e9 }, 0);
    let looks = 0;
    for (let n = 1; n <= 100_000; n++) {
      log.append({ get sequence() { looks += 1; return n; }, at: 0, event: {} });
    }
    looks = 0;
    expect(log.knows(77_777)).toBe(true);
    expect(log.after(77_777)?.event).toEqual({});
    expect(looks).toBeLessThan(60);
  });

  it("keeps no more than maxEvents, however many come", () => {
    const log = new Log({ maxEvents: 3, maxAge: 1e9 }, 0);
    for (let n = 1; n <= 1_000; n++) log.append({ sequence: n, at: 0, event: {} });
    expect(log.lostUpTo).toBe(997);
    expect([998, 999, 1_000].map((n) => log.after(n - 1)?.sequence)).toEqual([998, 999, 1_000]);
    expect(log.after(1_000)).toBeUndefined();
    expect(log.after(0)?.sequence).toBe(998);
  });

  it("lets a subscription that is dropped become garbage", async () => {
    const broker = await open();
    const dropped: WeakRef<object>[] = [];
    const drop = async (reads: number) => {
      const subscription = await broker.subscribe("a", { from: "start" });
      const iterator = subscription[Symbol.asyncIterator]();
      for (let n = 0; n < reads; n++) await iterator.next();
      dropped.push(new WeakRef(iterator));
    };
    await publishMany(broker, "a", 2);
    await drop(0);
    await drop(1);
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const isGone = (reference: WeakRef<object>) => reference.deref() === undefined;
    for (let turns = 0; turns < 20 && !dropped.every(isGone); turns++) {
      // What has been looked at lives until the end of the turn.
      await turn();
      collect();
    }
    expect(dropped.map(isGone)).toEqual([true, true]);
  });
});

describe("memoryBroker: options", () => {
  it.each<[string, object]>([
    ["history.maxEvents", { history: { maxEvents: 0 } }],
    ["history.maxEvents", { history: { maxEvents: 1.5 } }],
    ["history.maxAge", { history: { maxAge: -1 } }],
    ["history.maxAge", { history: { maxAge: Infinity } }],
    ["history.maxage", { history: { maxage: 1 } }],
    ["history", { history: 5 }],
    ["maxEvents", { maxEvents: 5 }],
  ])("refuses a wrong %s at once, naming it", (field, options) => {
    expect(() => memoryBroker(options)).toThrow(expect.objectContaining({ code: "ERR_INVALID_OPTION", field }));
  });
});

describe("memoryBroker: types", () => {
  interface Price {
    readonly event: "price";
    readonly data: { readonly eur: number };
  }
  interface Halt {
    readonly event: "halt";
  }

  it("makes a wrong publish a compile error and types what subscribe yields", async () => {
    const broker = memoryBroker<Price | Halt>();
    onTestFinished(() => broker.close());
    // @ts-expect-error: a price has a number
    await broker.publish("a", { event: "price", data: { eur: "9" } });
    // @ts-expect-error: no such event
    await expect(broker.publish("a", { event: "prize" })).resolves.toBeTypeOf("string");
    await broker.end("a");
    for await (const event of await broker.subscribe("a", { from: "start" })) {
      expectTypeOf(event.id).toEqualTypeOf<string | undefined>();
      if (event.event === "price") expectTypeOf(event.data.eur).toEqualTypeOf<number>();
    }
  });
});
