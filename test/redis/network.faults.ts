import { once } from "node:events";
import { lookup, type LookupAllOptions } from "node:dns";
import type { LookupFunction } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { redisBroker } from "express-event-source/redis";
import { createClient } from "redis";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, onTestFinished, vi } from "vitest";
import { read } from "../broker/contract.js";
import { dataOf } from "../broker/reader.js";
import { clients, type TestClient } from "./clients.js";
import { type Client, connect } from "./connected.js";
import { describeWithRedis } from "./redis-server.js";
import { TcpProxy } from "./tcp-proxy.js";

const unhandled = vi.fn();
process.on("unhandledRejection", unhandled);

describeWithRedis("with a network that fails", (redis) => {
  let network: TcpProxy;
  let direct: Client;
  let prefixes = 0;
  beforeAll(async () => {
    direct = await connect(redis.url);
  });
  afterAll(() => direct.destroy());
  beforeEach(async () => {
    network = await new TcpProxy(() => [redis.port]).listen();
  });
  afterEach(() => {
    network.close();
    expect(unhandled).not.toHaveBeenCalled();
  });

  async function open(name: string, timeout = 500) {
    const prefix = `${prefixes++}:`;
    const { client, close } = await (clients[name] as (url: string) => Promise<TestClient>)(network.url);
    onTestFinished(() => void close());
    // Its subscriptions go through the network, what is published does not.
    const history = { maxEvents: 10_000 };
    const broker = redisBroker({ client, prefix, timeout, history });
    const publisher = redisBroker({ client: direct, prefix, history });
    onTestFinished(async () => void (await Promise.all([broker.close(), publisher.close()])));
    return { broker, publisher, prefix };
  }

  const names = Object.keys(clients);

  it.each(names)("gives everything, once and in order, while %s is cut again and again", async (name) => {
    const { broker, publisher } = await open(name);
    const reader = await read(broker, ["a", "b"]);
    const all = reader.take(300);
    for (let n = 0; n < 300; n++) {
      await publisher.publish(n % 2 === 0 ? "a" : "b", { data: n });
      if (n % 40 === 0) {
        network.cut();
        await sleep(n % 80 === 0 ? 1 : 60);
        network.mend();
      }
    }
    const got = dataOf(await all) as number[];
    for (const rest of [0, 1])
      expect(got.filter((n) => n % 2 === rest)).toEqual(Array.from({ length: 150 }, (_, n) => 2 * n + rest));
  });

  it.each(names)("gives everything when the link of %s has stalled, and after the next cut", async (name) => {
    const { broker, publisher } = await open(name);
    const readers = await Promise.all(Array.from({ length: 50 }, (_, n) => read(broker, `stalled ${n}`)));
    const all = readers.map((reader) => reader.take(3));
    const publish = (data: number) => Promise.all(readers.map((_, n) => publisher.publish(`stalled ${n}`, { data })));
    await publish(0);
    network.stall();
    await publish(1);
    await expect(broker.publish("a", { data: 0 })).rejects.toMatchObject({ code: "ERR_BROKER_UNAVAILABLE" });
    await expect(broker.subscribe("a")).rejects.toMatchObject({ code: "ERR_BROKER_UNAVAILABLE" });
    network.cut();
    network.mend();
    await publish(2);
    for (const events of await Promise.all(all)) expect(dataOf(events)).toEqual([0, 1, 2]);
  });

  it.each(["node-redis", "ioredis 5"])(
    "gets large events through a slow link, and publishes meanwhile, with %s",
    async (name) => {
      const { broker, publisher } = await open(name, 1000);
      const reader = await read(broker, "large");
      const first = reader.take(1);
      await publisher.publish("large", { data: "" });
      await first;
      network.rate = 4_000_000;
      const data = "x".repeat(500_000);
      const all = reader.take(20);
      for (let n = 0; n < 20; n++) await publisher.publish("large", { data });
      for (let n = 0; n < 5; n++) await broker.publish("small", { data: n });
      expect(await all).toHaveLength(20);
      expect(network.bytes).toBeLessThan(2 * 20 * 500_000);
    },
  );

  it.each(names)("finds what no message told, with %s", async (name) => {
    const prefix = `${prefixes++}:`;
    const { client, close } = await (clients[name] as (url: string) => Promise<TestClient>)(network.url);
    onTestFinished(() => void close());
    const broker = redisBroker({ client, prefix, history: { maxAge: 4_000 } });
    const publisher = redisBroker({ client: direct, prefix });
    onTestFinished(async () => void (await Promise.all([broker.close(), publisher.close()])));
    const reader = await read(broker, "a");
    const first = reader.take(1);
    await publisher.publish("a", { data: 0 });
    await first;
    const second = reader.take(1);
    // Redis gives the message to whoever listens, and they never get it.
    network.filter = (chunk) => (chunk.includes("message") ? undefined : chunk);
    await publisher.publish("a", { data: 1 });
    expect(dataOf(await second)).toEqual([1]);
  });

  it.each(names)("reads what it missed when Redis cuts %s for reading its messages too slowly", async (name) => {
    await direct.configSet("client-output-buffer-limit", "pubsub 1mb 0 0");
    onTestFinished(async () => void (await direct.configSet("client-output-buffer-limit", "pubsub 32mb 8mb 60")));
    const { broker, publisher } = await open(name, 20_000);
    const reader = await read(broker, "slow");
    const first = reader.take(1);
    await publisher.publish("slow", { data: "first" });
    await first;
    const listeners = () => direct.sendCommand(["CLIENT", "LIST", "TYPE", "pubsub"]);
    await vi.waitFor(async () => expect(await listeners()).toContain("cmd="), 10_000);
    network.stall();
    const all = reader.take(1500);
    // The system holds some of it for Redis: more than a socket's buffers take has to be published.
    const text = (n: number) => `${n} `.padEnd(16_000, "x");
    await Promise.all(Array.from({ length: 1500 }, (_, n) => publisher.publish("slow", { data: text(n) })));
    await vi.waitFor(async () => expect(await listeners()).not.toContain("cmd="), 10_000);
    network.mend();
    expect(dataOf(await all)).toEqual(Array.from({ length: 1500 }, (_, n) => text(n)));
  });

  it.each(names)("stores an event once where %s sends it again after a lost reply", async (name) => {
    const { broker, publisher } = await open(name, 5000);
    await broker.publish("a", { data: "first" });
    const reader = await read(publisher, "a", { from: "start" });
    const isLost = network.deafen();
    const publishing = Promise.allSettled([1, 2, 3].map((data) => broker.publish("a", { data })));
    await isLost;
    for (let n = 0; n < 150; n++) await publisher.publish("a", { data: "another's" });
    network.cut();
    network.mend();
    const [one] = await publishing;
    if (name.startsWith("ioredis")) expect(one?.status).toBe("fulfilled");
    await broker.publish("a", { data: "last" });
    await publisher.end("a");
    const seen = dataOf(await reader.rest());
    expect(seen.filter((data) => data !== "another's")).toEqual(["first", 1, 2, 3, "last"]);
  });

  it("tells of each event that is sent again after a lost reply whether it was stored or refused", async () => {
    const { broker, publisher } = await open("ioredis 6", 5000);
    const [first, ...rest] = [
      broker.publish("a", { data: "first" }),
      broker.publish("a", { data: "second" }),
      broker.end("a"),
      broker.publish("a", { data: "late" }),
      broker.end("a"),
    ];
    await first;
    await network.deafen();
    network.cut();
    network.mend();
    const results = await Promise.allSettled(rest);
    expect(results).toMatchObject([
      { status: "fulfilled" },
      { status: "fulfilled" },
      { reason: { code: "ERR_CHANNEL_ENDED" } },
      { status: "fulfilled" },
    ]);
    await (await read(publisher, "a", { from: "start" })).expectRest("first", "second");
  });

  it("tells of an end that is sent again after a lost reply that the channel has a producer", async () => {
    const { broker, publisher } = await open("ioredis 6", 5000);
    await publisher.produce("a", async function* ({ signal }) {
      yield { data: "first" };
      await once(signal, "abort");
    });
    const [first, end, last] = [broker.publish("a", { data: 1 }), broker.end("a"), broker.publish("a", { data: 2 })];
    await first;
    await network.deafen();
    network.cut();
    network.mend();
    const results = await Promise.allSettled([end, last]);
    expect(results).toMatchObject([{ reason: { code: "ERR_CHANNEL_PRODUCED" } }, { status: "fulfilled" }]);
  });

  it("finds all that is sent again after a lost reply, where others have published nearly as much as is searched", async () => {
    const { broker, publisher } = await open("ioredis 6", 5000);
    const publishing = Array.from({ length: 201 }, (_, data) => broker.publish("a", { data }));
    await publishing[0];
    await network.deafen();
    for (let n = 0; n < 4; n++)
      await Promise.all(Array.from({ length: 230 }, () => publisher.publish("a", { data: "another's" })));
    network.cut();
    network.mend();
    await Promise.all(publishing);
    expect(new Set(await Promise.all(publishing)).size).toBe(201);
    await publisher.end("a");
    expect(await (await read(publisher, "a", { from: "start" })).rest()).toHaveLength(201 + 4 * 230);
  });

  it("stores an event once where the client sends it again after a lost reply, and a failover has lost the events before it", async () => {
    const { broker, publisher, prefix } = await open("ioredis 6", 5000);
    const key = `${prefix}a`;
    // The clock has stepped back, so that all events are of the same millisecond.
    await direct.xAdd(key, `${Date.now() + 60_000}-1`, { after: "0-0", text: "ahead" });
    const kept = await broker.publish("a", { data: "kept" });
    await direct.xDel(key, await broker.publish("a", { data: "lost" }));
    await direct.xSetId(key, kept);
    const publishing = broker.publish("a", { data: "once" });
    await network.deafen();
    network.cut();
    network.mend();
    await publishing;
    await publisher.end("a");
    await (await read(publisher, "a", { from: "start" })).expectRest("ahead", "kept", "once");
  });

  it("tells that what is sent again after a lost reply may have been stored, where the channel has dropped it since", async () => {
    const { broker, publisher, prefix } = await open("ioredis 6", 5000);
    const publishing = [1, 2, 3, 4].map((data) => broker.publish("a", { data }));
    await publishing[0];
    await network.deafen();
    await direct.xTrim(`${prefix}a`, "MAXLEN", 2);
    network.cut();
    network.mend();
    const results = await Promise.allSettled(publishing);
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled", "fulfilled"]);
    expect(results[1]).toMatchObject({ reason: { code: "ERR_BROKER_UNAVAILABLE" } });
    await publisher.end("a");
    await (await read(publisher, "a", { from: "start" })).expectRest(3, 4);
  });

  it("stores an event once where the client sends it again after a lost reply, and the clock has stepped back", async () => {
    const { broker, publisher } = await open("ioredis 6", 5000);
    // What the broker learns of the time before the step.
    const time = /(?<=\r\n\$13\r\n)\d{13}(?=\r\n\$4\r\ntime)/;
    const isKnown = new Promise<void>((resolve) => {
      network.filter = (chunk) => {
        const text = chunk.toString("latin1");
        if (time.test(text)) resolve();
        return Buffer.from(
          text.replace(time, (now) => String(Number(now) + 10_000)),
          "latin1",
        );
      };
    });
    // Redis knows the script from now on.
    await publisher.publish("another", { data: 0 });
    const publishing = broker.publish("a", { data: "once" });
    await isKnown;
    await network.deafen();
    network.cut();
    network.mend();
    await publishing;
    await publisher.end("a");
    await (await read(publisher, "a", { from: "start" })).expectRest("once");
  });

  it.each(names)(
    "stop() tells that it has stopped a producer where %s sends it again after a lost reply",
    async (name) => {
      const { broker, publisher } = await open(name, 5000);
      const run = await publisher.produce("a", async function* ({ signal }) {
        await new Promise((resolve) => void signal.addEventListener("abort", resolve));
      });
      await broker.stop("another");
      const isLost = network.deafen();
      const stopping = broker.stop("a").catch((error: Error) => error);
      await isLost;
      network.cut();
      network.mend();
      expect(await run?.done).toBe("stopped");
      if (name.startsWith("ioredis")) expect(await stopping).toBe(true);
      else await stopping;
    },
  );

  it("leaves no connection behind that opens only after the timeout", async () => {
    let delay = 0;
    const slowLookup = ((host: string, options: LookupAllOptions, callback: () => void) =>
      void setTimeout(() => lookup(host, options, callback), delay)) as LookupFunction;
    const client = createClient({ socket: { host: "localhost", port: redis.port, lookup: slowLookup } });
    await client.on("error", () => {}).connect();
    const broker = redisBroker({ client, timeout: 100 });
    onTestFinished(async () => {
      await broker.close();
      client.destroy();
    });
    const count = async () => Number(/connected_clients:(\d+)/.exec(await direct.info("clients"))?.[1]);
    const before = await count();
    delay = 400;
    for (let n = 0; n < 3; n++)
      await expect(broker.subscribe("a")).rejects.toMatchObject({ code: "ERR_BROKER_UNAVAILABLE" });
    await broker.close();
    await sleep(2 * delay);
    expect(await count()).toBe(before);
  });

  it("believes no reply that belongs to another command", async () => {
    const { broker, publisher, prefix } = await open("node-redis");
    await publisher.publish("mine", { data: "mine" });
    await publisher.publish("theirs", { data: "theirs" });
    expect(await direct.exists(`${prefix}mine`)).toBe(1);
    // Each script's reply, which begins with its nonce and the time, begins with another one.
    const nonce = /(?<=\*\d+\r\n\$\d+\r\n)[\w-]+(?=\r\n\$13\r\n\d{13}\r\n)/g;
    const other = (text: string) => [...text].reverse().join("");
    network.filter = (chunk) => Buffer.from(chunk.toString("latin1").replace(nonce, other), "latin1");
    const denial = { code: "ERR_BROKER_UNAVAILABLE", message: expect.stringContaining("another command") as string };
    await expect(broker.subscribe("mine", { from: "start" })).rejects.toMatchObject(denial);
    await expect(broker.publish("mine", { data: "?" })).rejects.toMatchObject(denial);
  });
});
