import { describe, expect, it, vi } from "vitest";
import { publishMany, read } from "../broker/contract.js";
import { interleavings } from "../broker/interleavings.js";
import { memory, openMemory, useVirtualAge } from "./memory.js";
import { dataOf } from "../broker/reader.js";

useVirtualAge();

interleavings("memoryBroker: loses nothing in silence where events age and channels are forgotten", memory, {
  isAging: true,
});

describe("memoryBroker: forgetting", () => {
  it("keeps one timer for all channels, and none when they have aged out", async () => {
    const broker = await openMemory({ maxAge: 1_000 });
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

  it("ends a subscription that lags when its ended channel is forgotten", async () => {
    const broker = await openMemory({ maxAge: 1_000 });
    const [read1, unread] = [await read(broker, "a"), await read(broker, "a")];
    await broker.publish("a", { data: 1 });
    await read1.take(1);
    await broker.end("a");
    await memory.pass(3_000);
    expect(vi.getTimerCount()).toBe(0);
    expect(await read1.rest()).toEqual([]);
    await unread.expectRest("gap");
  });

  it("takes no id from before for a current one", async () => {
    const broker = await openMemory({ maxAge: 1_000 });
    const [first, last] = await publishMany(broker, "a", 2);
    await memory.pass(3_000);
    await (await read(broker, "a", { lastEventId: first, onGap: () => ({ event: "gap" }) })).expectNext("gap");
    await broker.publish("a", { data: "new" });
    for (const lastEventId of [first, last]) {
      await (await read(broker, "a", { lastEventId })).expectNext("gap", "new");
    }
  });

  it("never forgets a channel that somebody waits for, and says no gap there", async () => {
    const broker = await openMemory({ maxAge: 1_000 });
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
    await (await read(broker, ["a"], { lastEventId: id })).expectNext(1);
  });

  it("gives nobody an event that is too old, whether or not it has been swept away", async () => {
    const broker = await openMemory({ maxAge: 1_000 });
    const lagging = await read(broker, "a");
    await broker.publish("a", { data: "swept" });
    await memory.pass(100);
    await broker.publish("a", { data: "old" });
    await memory.pass(1_050);
    const late = await read(broker, "a", { from: "start" });
    await broker.end("a");
    expect(await late.rest()).toEqual([]);
    await lagging.expectRest("gap");
  });

  it("tells a reader that lags in a channel that is forgotten, whatever is forgotten after it", async () => {
    const broker = await openMemory({ maxAge: 1_000 });
    const waiting = await read(broker, "old");
    const lagging = await read(broker, "a");
    await broker.publish("old", { data: 0 });
    await waiting.take(1);
    void waiting.next();
    await publishMany(broker, "a", 2);
    await lagging.expectNext(0);
    await memory.pass(3_000);
    await waiting.return();
    await memory.pass(3_000);
    await broker.publish("a", { data: "new" });
    await lagging.expectNext("gap", "new");
  });

  it("keeps the mark of an end for maxAge after the end, not after the last event", async () => {
    const broker = await openMemory({ maxAge: 1_000 });
    await broker.publish("a", { data: 0 });
    await memory.pass(900);
    await broker.end("a");
    await memory.pass(900);
    await expect(broker.publish("a", { data: 1 })).rejects.toMatchObject({ code: "ERR_CHANNEL_ENDED" });
  });

  it("lets the process end while it holds events", async () => {
    vi.useRealTimers();
    const timers = vi.spyOn(globalThis, "setInterval");
    const broker = await openMemory();
    await broker.publish("a", { data: 0 });
    expect(timers.mock.results.map(({ value }) => (value as NodeJS.Timeout).hasRef())).toEqual([false]);
    timers.mockRestore();
  });

  it("keeps the mark of an end while somebody waits for it beside another channel", async () => {
    const broker = await openMemory({ maxAge: 1_000 });
    await broker.end("a");
    const everything = (await read(broker, ["a", "b"])).rest();
    await memory.pass(10_000);
    await expect(broker.publish("a", { data: 1 })).rejects.toMatchObject({ code: "ERR_CHANNEL_ENDED" });
    await broker.end("b");
    expect(await everything).toEqual([]);
  });

  it.each([
    [1_000, 2_000],
    [300_000, 360_000],
  ])("forgets an idle channel whose events live %i ms after %i ms at the latest", async (maxAge, latest) => {
    const broker = await openMemory({ maxAge });
    const id = await broker.publish("a", { data: 0 });
    await memory.pass(maxAge - 1);
    await (await read(broker, "a", { from: "start" })).expectNext(0);
    await memory.pass(latest - maxAge + 1);
    expect(vi.getTimerCount()).toBe(0);
    await broker.publish("a", { data: 1 });
    await (await read(broker, "a", { lastEventId: id })).expectNext("gap", 1);
  });

  it("forgets a channel that nobody waits for any more, and keeps it until then", async () => {
    const broker = await openMemory({ maxAge: 1_000 });
    const reader = await read(broker, "a");
    const next = reader.take(1);
    await broker.publish("a", { data: 0 });
    const [{ id } = {}] = await next;
    void reader.next();
    await memory.pass(60_000);
    await reader.return();
    await memory.pass(400);
    const back = await read(broker, "a", { lastEventId: id });
    await broker.publish("a", { data: 1 });
    await back.expectNext(1);
    await memory.pass(2_000);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("says no gap to the first client after the newest event has aged out", async () => {
    const broker = await openMemory({ maxAge: 1_000 });
    await memory.pass(300);
    const [, last] = await publishMany(broker, "a", 2);
    // Between two sweeps: nobody has looked at the log since.
    await memory.pass(1_050);
    const reader = await read(broker, "a", { lastEventId: last });
    await broker.publish("a", { data: "new" });
    await reader.expectNext("new");
  });

  it("tells a loss in a busy channel once, not before each event of a quiet one", async () => {
    const broker = await openMemory({ maxEvents: 2 });
    const reader = await read(broker, ["busy", "quiet"]);
    await publishMany(broker, "quiet", 2);
    await publishMany(broker, "busy", 10);
    await reader.expectNext("gap", 0, 1, 8, 9);
  });
});
