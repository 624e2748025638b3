import { randomBytes } from "node:crypto";
import { getEventListeners } from "node:events";
import { setImmediate as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { encodeEvent, type ServerSentEvent } from "express-event-source";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { Channels } from "../../src/memory/channels.js";
import { Log } from "../../src/memory/log.js";
import { whenTurnComes } from "../../src/runtime/turn.js";
import { publishMany, read } from "../broker/contract.js";
import { until } from "../support/stage.js";
import { openMemory } from "./memory.js";

async function untilGone(references: readonly WeakRef<object>[]): Promise<void> {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const isGone = (reference: WeakRef<object>) => reference.deref() === undefined;
  for (let turns = 0; turns < 20 && !references.every(isGone); turns++) {
    // What has been looked at lives until the end of the turn.
    await turn();
    collect();
  }
  expect(references.map(isGone)).toEqual(references.map(() => true));
}

/** A stream that is always ready. */
function workUntilTestFinished(): void {
  let isBusy = true;
  onTestFinished(() => void (isBusy = false));
  const work = (): void => {
    if (isBusy) whenTurnComes(work);
  };
  work();
}

describe("memoryBroker: cost", () => {
  it("serializes an event once, for however many subscribers, and their streams not again", async () => {
    const broker = await openMemory();
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
    const broker = await openMemory();
    const { signal } = new AbortController();
    const listeners = () => getEventListeners(signal, "abort").length;
    const reader = await read(broker, ["a", "b"], { signal });
    expect(listeners()).toBe(0);
    for (let n = 0; n < 20; n++) {
      const next = reader.take(1);
      await broker.publish("a", { data: n });
      await next;
    }
    expect(listeners()).toBe(1);
    await broker.end("a");
    await broker.end("b");
    await reader.rest();
    expect(listeners()).toBe(0);
  });

  it("takes as many steps for a position among 100,000 events as a search by halves", async () => {
    const log = new Log({ maxEvents: 200_000, maxAge: 1e9 }, 0);
    let looks = 0;
    for (let n = 1; n <= 100_000; n++) {
      log.append({
        get sequence() {
          looks += 1;
          return n;
        },
        at: 0,
        event: { id: "1" },
      });
    }
    looks = 0;
    expect(log.knows(77_777)).toBe(true);
    expect(log.after(77_777)?.event).toEqual({ id: "1" });
    expect(looks).toBeLessThan(60);
  });

  it("keeps no more than maxEvents, however many come", () => {
    const log = new Log({ maxEvents: 3, maxAge: 1e9 }, 0);
    for (let n = 1; n <= 1_000; n++) log.append({ sequence: n, at: 0, event: { id: "1" } });
    expect(log.lostUpTo).toBe(997);
    expect([998, 999, 1_000].map((n) => log.after(n - 1)?.sequence)).toEqual([998, 999, 1_000]);
    expect(log.after(1_000)).toBeUndefined();
    expect(log.after(0)?.sequence).toBe(998);
  });

  it("keeps no more than twice maxEvents while who waits has still to read, and then maxEvents", async () => {
    const log = new Log({ maxEvents: 3, maxAge: 1e9 }, 0);
    log.wait({ wake: () => {} });
    for (let n = 1; n <= 1_000; n++) log.append({ sequence: n, at: 0, event: { id: "1" } });
    expect(log.lostUpTo).toBe(994);
    await until(() => log.lostUpTo === 997);
  });

  it("lets a log that is forgotten become garbage, also while streams that are always ready work", async () => {
    workUntilTestFinished();
    const forgotten: WeakRef<Log>[] = [];
    const publishAndForget = async (turns: number) => {
      const log = new Log({ maxEvents: 3, maxAge: 1e9 }, 0);
      log.wait({ wake: () => {} });
      log.append({ sequence: 1, at: 0, event: { id: "1" } });
      for (let n = 0; n < turns; n++) await turn();
      log.forget();
      forgotten.push(new WeakRef(log));
    };
    // While those that wait are still to be woken, and while they read.
    await publishAndForget(0);
    await publishAndForget(1);
    await untilGone(forgotten);
  });

  it("lets the logs of a broker that is closed become garbage, also while streams that are always ready work", async () => {
    workUntilTestFinished();
    const closed: WeakRef<Log>[] = [];
    const publishAndClose = async () => {
      const channels = new Channels({ maxEvents: 3, maxAge: 1e9 });
      const log = channels.open("a");
      log.wait({ wake: () => {} });
      channels.append("a", { text: "1" });
      await turn();
      channels.close();
      closed.push(new WeakRef(log));
    };
    await publishAndClose();
    await untilGone(closed);
  });

  it("lets a subscription that is dropped become garbage", async () => {
    const broker = await openMemory();
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
    await untilGone(dropped);
  });

  it("is nothing for the names that strangers make up, once they have left", async () => {
    const broker = await openMemory();
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const name = (length: number) => randomBytes(length).toString("latin1");
    const visit = async () => {
      const gone = new AbortController();
      await broker.subscribe(name(15_000), { signal: gone.signal }).catch(() => {});
      const channels = [name(512), name(512)];
      const listening = await read(broker, channels, { signal: gone.signal, from: "start", lastEventId: "unknown" });
      await listening.take(1);
      const waiting = listening.next();
      const unread = await read(broker, name(512));
      await unread.return();
      gone.abort();
      await waiting;
    };
    const heap = async () => {
      await turn();
      collect();
      return process.memoryUsage().heapUsed;
    };
    for (let n = 0; n < 500; n++) await visit();
    const before = await heap();
    for (let n = 0; n < 16_000; n++) await visit();
    // 16,000 names of 15,000 characters are 240 MB, three of 512 are 24 MB.
    expect((await heap()) - before).toBeLessThan(2_000_000);
  });
});
