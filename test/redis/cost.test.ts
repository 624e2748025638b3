import { redisBroker } from "express-event-source/redis";
import { createClientPool } from "redis";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, expect, it, onTestFinished, vi } from "vitest";
import { publishMany, read } from "../broker/contract.js";
import { dataOf } from "../broker/reader.js";
import { calls as callsOf, type Client, connect } from "./connected.js";
import { describeWithRedis } from "./redis-server.js";

describeWithRedis("what redisBroker costs", (redis) => {
  let client: Client;
  beforeAll(async () => {
    client = await connect(redis.url);
  });
  afterAll(() => client.destroy());
  let brokers = 0;
  function open() {
    const broker = redisBroker({ client, prefix: `${brokers++}:` });
    onTestFinished(() => broker.close());
    return broker;
  }
  const calls = (command: string) => callsOf(client, command);
  const connections = async () => Number(/connected_clients:(\d+)/.exec(await client.info("clients"))?.[1]);

  it("is one read for all the subscriptions to a channel", async () => {
    const broker = open();
    const readers = await Promise.all(Array.from({ length: 10_000 }, () => read(broker, "a")));
    // A script that the server does not know is sent again, with its text.
    expect((await calls("evalsha")) + (await calls("eval"))).toBeLessThanOrEqual(2);
    const first = readers.map((reader) => reader.take(1));
    await broker.publish("a", { data: 0 });
    await Promise.all(first);
    const before = await calls("xrange");
    const next = readers.map((reader) => reader.take(3));
    await publishMany(broker, "a", 3);
    for (const events of await Promise.all(next)) expect(dataOf(events)).toEqual([0, 1, 2]);
    expect((await calls("xrange")) - before).toBeLessThanOrEqual(3);
    expect(await connections()).toBeLessThanOrEqual(3);
  });

  it("is no read of the channel for a process that publishes to it for the first time", async () => {
    await publishMany(open(), "a", 200);
    const broker = redisBroker({ client, prefix: `${brokers - 1}:` });
    onTestFinished(() => broker.close());
    const before = await calls("xrevrange");
    await broker.publish("a", { data: "first" });
    expect((await calls("xrevrange")) - before).toBe(1);
  });

  it("is nothing for an event that was rejected while the client waits", async () => {
    setFlagsFromString("--expose-gc");
    const gc = runInNewContext("gc") as () => void;
    const usedMemory = () => {
      gc();
      return process.memoryUsage().heapUsed;
    };
    const call = () => new Promise<never>(() => {});
    const stuck = { status: "ready", isCluster: false, options: {}, call, duplicate() {} };
    const broker = redisBroker({ client: stuck, timeout: 20 });
    const before = usedMemory();
    for (let n = 0; n < 20; n++)
      await Promise.allSettled(
        Array.from({ length: 20 }, () => broker.publish("a", { data: { text: "x".repeat(100_000) } })),
      );
    expect(usedMemory() - before).toBeLessThan(10e6);
  });

  it("is one page for all that come back to the same place", async () => {
    const broker = open();
    const [first] = await publishMany(broker, "a", 200);
    const before = await calls("evalsha");
    const readers = await Promise.all(Array.from({ length: 1000 }, () => read(broker, "a", { lastEventId: first })));
    for (const events of await Promise.all(readers.map((reader) => reader.take(199))))
      expect(dataOf(events).at(-1)).toBe(199);
    expect((await calls("evalsha")) - before).toBeLessThan(10);
  });

  it("is a short call for each of many channels whose events are large, so that Redis serves others in between", async () => {
    const broker = open();
    const names = Array.from({ length: 20 }, (_, n) => `large ${n}`);
    const data = "x".repeat(100_000);
    await Promise.all(names.flatMap((name) => [1, 2, 3].map(() => broker.publish(name, { data }))));
    await broker.subscribe("a");
    const before = await calls("evalsha");
    const readers = await Promise.all(names.map((name) => read(broker, name, { from: "start" })));
    expect((await calls("evalsha")) - before).toBe(names.length);
    for (const reader of readers) await reader.expectNext(data, data, data);
  });

  it("is nothing for who comes back to what this process still has", async () => {
    const broker = open();
    const staying = await read(broker, "a");
    const looks = await calls("xrevrange");
    const all = staying.take(20);
    // The tail is compared with the stream once, as soon as it hears of new entries.
    await expect.poll(() => calls("xrevrange")).toBe(looks + 1);
    const ids = await publishMany(broker, "a", 20);
    await all;
    const before = await calls("evalsha");
    for (const lastEventId of ids.slice(0, -1))
      await (await read(broker, "a", { lastEventId })).expectNext(ids.indexOf(lastEventId) + 1);
    expect(await calls("evalsha")).toBe(before);
  });

  it("is no wait for the audit where one subscription begins in the turn in which the channel's last one ends", async () => {
    // Without it, an event that waits for the audit never comes.
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    onTestFinished(() => void vi.useRealTimers());
    const broker = open();
    const reader = await read(broker, "a");
    const first = reader.take(1);
    await broker.publish("a", { data: 0 });
    await first;
    const next = await read(broker, "a");
    const second = reader.take(1);
    await broker.publish("a", { data: 1 });
    await second;
    void reader.return();
    await next.expectNext(1);
  });

  it("is no polling in an idle process, and nothing without a subscription", async () => {
    const broker = open();
    const reader = await read(broker, "a");
    const next = reader.take(1);
    await broker.publish("a", { data: 0 });
    await next;
    const waiting = reader.next();
    const before = await calls("xrange");
    await sleep(1500);
    expect((await calls("xrange")) - before).toBeLessThanOrEqual(1);
    await reader.return();
    await waiting;
    const key = `${brokers - 1}:a`;
    await expect.poll(() => client.pubSubNumSub(key)).toEqual({ [key]: 0 });
    await broker.publish("a", { data: 1 });
    expect((await calls("xrange")) - before).toBeLessThanOrEqual(1);
  });

  it("is no connection after close(), for a subscription that was beginning while the pool's client was busy", async () => {
    const pool = createClientPool({ url: redis.url }, { minimum: 1, maximum: 1 });
    await pool.connect();
    onTestFinished(() => pool.destroy());
    const broker = redisBroker({ client: pool });
    const before = await connections();
    let finish = (): void => {};
    const work = pool.execute(() => new Promise<void>((resolve) => (finish = resolve)));
    const subscribing = expect(broker.subscribe("a")).rejects.toMatchObject({ code: "ERR_BROKER_CLOSED" });
    await broker.close();
    finish();
    await Promise.all([work, subscribing]);
    expect(await connections()).toBe(before);
  });

  it.each(["\u{1f600}", "__proto__"])("is no turning in circles over a name such as %j", async (name) => {
    const broker = redisBroker({ client, prefix: "" });
    onTestFinished(() => broker.close());
    const reader = await read(broker, name);
    const before = await calls("xrange");
    const next = reader.take(2);
    await publishMany(broker, name, 2);
    expect(dataOf(await next)).toEqual([0, 1]);
    expect((await calls("xrange")) - before).toBeLessThanOrEqual(3);
  });

  it("is no waiting for who subscribes while the reader waits", async () => {
    const broker = open();
    for (let n = 0; n < 20; n++) {
      const next = (await read(broker, `channel ${n}`)).take(1);
      await broker.publish(`channel ${n}`, { data: n });
      expect(dataOf(await next)).toEqual([n]);
    }
    expect(await connections()).toBeLessThanOrEqual(3);
  });

  it("is a key for each channel, which goes with its events", async () => {
    const broker = redisBroker({ client, prefix: "short:", history: { maxEvents: 10, maxAge: 100 } });
    onTestFinished(() => broker.close());
    await publishMany(broker, "a", 500);
    expect(await client.xLen("short:a")).toBeLessThan(200);
    await expect.poll(() => client.exists("short:a")).toBe(0);
  });
});
