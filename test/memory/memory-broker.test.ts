import { memoryBroker } from "express-event-source";
import { describe, expect, expectTypeOf, it, onTestFinished } from "vitest";
import { brokerContract, publishMany, read } from "../broker/contract.js";
import { memory, openMemory, useVirtualAge } from "./memory.js";
import { dataOf, type Reader } from "../broker/reader.js";

useVirtualAge();

brokerContract("memoryBroker", memory);

describe("memoryBroker: ids and gaps", () => {
  it("puts the run into its ids: after a restart they are unknown", async () => {
    const before = await openMemory();
    const ids = await publishMany(before, "a", 3);
    const after = await openMemory();
    await publishMany(after, "a", 3);
    await (await read(after, "a", { lastEventId: ids[1] })).expectNext("gap", 0, 1, 2);
  });

  it("says a gap exactly from the event on that is missing", async () => {
    const broker = await openMemory({ maxEvents: 2 });
    const ids = await publishMany(broker, "a", 5);
    const after = async (index: number) => dataOf(await (await read(broker, "a", { lastEventId: ids[index] })).take(2));
    expect(await after(1)).toEqual(["gap", 3]);
    expect(await after(2)).toEqual([3, 4]);
  });

  it("says a gap once, then all that was held when it was said, and a further one only for further losses", async () => {
    const broker = await openMemory({ maxEvents: 2 });
    const reader = await read(broker, ["a", "b"]);
    await publishMany(broker, "a", 2);
    await publishMany(broker, "b", 3);
    await reader.expectNext("gap", 0);
    await broker.publish("a", { data: "a" });
    await broker.publish("a", { data: "aa" });
    await reader.expectNext("gap", 1, 2, "a", "aa");
  });

  it("never repeats, after a gap in one channel, what a client had from another", async () => {
    const broker = await openMemory({ maxEvents: 2 });
    const reader = await read(broker, ["a", "b"]);
    await broker.publish("a", { data: "a" });
    const [, { id } = {}] = [await broker.publish("b", { data: "b" }), ...(await reader.take(2)).slice(1)];
    await publishMany(broker, "b", 3);
    await (await read(broker, ["a", "b"], { lastEventId: id })).expectNext("gap", 1, 2);
  });

  it("merges channels in the order of their publishing", async () => {
    const broker = await openMemory();
    for (let n = 0; n < 9; n++) await broker.publish("abc"[n % 3] as string, { data: n });
    await (await read(broker, ["c", "b", "a"], { from: "start" })).expectNext(0, 1, 2, 3, 4, 5, 6, 7, 8);
  });

  it("gives all subscribers one object", async () => {
    const broker = await openMemory();
    const readers = [await read(broker, "a"), await read(broker, ["a", "b"])];
    await broker.publish("a", { data: {} });
    const [[one], [other]] = [await (readers[0] as Reader).take(1), await (readers[1] as Reader).take(1)];
    expect(one).toBe(other);
  });

  it("takes its position before the promise resolves, and needs no reading for that", async () => {
    const broker = await openMemory();
    const subscribing = read(broker, "a");
    await broker.publish("a", { data: 0 });
    await (await subscribing).expectNext(0);
  });

  it("lets onGap publish: what it publishes comes after what is held", async () => {
    const broker = await openMemory();
    const reader = await read(broker, "a", {
      lastEventId: "unknown",
      onGap() {
        void broker.publish("a", { data: "from onGap" });
        return undefined;
      },
    });
    await reader.expectNext("from onGap");
    await broker.publish("a", { data: "later" });
    await reader.expectNext("later");
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
    readonly data: "";
  }

  it("makes a wrong publish a compile error and types what subscribe yields", async () => {
    const broker = memoryBroker<Price | Halt>();
    onTestFinished(() => broker.close());
    // @ts-expect-error: a price has a number
    await broker.publish("a", { event: "price", data: { eur: "9" } });
    // @ts-expect-error: no such event
    await expect(broker.publish("a", { event: "prize", data: "" })).resolves.toBeTypeOf("string");
    await broker.end("a");
    for await (const event of await broker.subscribe("a", { from: "start" })) {
      expectTypeOf(event.id).toEqualTypeOf<string | undefined>();
      if (event.event === "price") expectTypeOf(event.data.eur).toEqualTypeOf<number>();
    }
  });
});

describe("memoryBroker: what its refusals recommend", () => {
  it("is no toEvent for a published array: there is none", async () => {
    const broker = await openMemory();
    const refused = broker.publish("a", [1] as object);
    await expect(refused).rejects.toThrow("an array of 1 cannot be published; write { data: … }.");
  });

  it("is no null for a producer's source: it must be iterated", async () => {
    const broker = await openMemory();
    const run = await broker.produce("a", () => null as never);
    await expect(run?.done).rejects.toThrow(/^The source is null; .* or an iterable\.$/);
  });
});
