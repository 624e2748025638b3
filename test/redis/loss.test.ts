import { once } from "node:events";
import { expect, it, onTestFinished } from "vitest";
import { publishMany, read } from "../broker/contract.js";
import { dataOf } from "../broker/reader.js";
import { type Client, connect, connected, ring } from "./connected.js";
import { describeWithRedis, RedisServer } from "./redis-server.js";
import { TcpProxy } from "./tcp-proxy.js";

/** Everyone but the caller is cut off. */
async function cutOthers(client: Client): Promise<void> {
  await client.sendCommand(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
  await client.sendCommand(["CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes"]);
}

async function* endless({ signal }: { signal: AbortSignal }) {
  yield { data: "first" };
  await once(signal, "abort");
}

describeWithRedis("Redis with less than before", (redis) => {
  const open = connected(redis);

  it("is a gap to who was there, where the stream has gone", async () => {
    const { broker, prefix, client } = open();
    const reader = await read(broker, "a");
    const [, lastEventId] = await publishMany(broker, "a", 2);
    await reader.take(2);
    await cutOthers(client);
    await client.del(`${prefix}a`);
    await broker.publish("a", { data: "new" });
    const [gap, event] = await reader.take(2);
    expect(gap).toEqual({ event: "gap", data: { lastEventId } });
    expect(event?.data).toBe("new");
  });

  it("is a gap to who was there, where nothing is cut and nothing new is published", async () => {
    const { broker, prefix, client } = open({ history: { maxAge: 4_000 } });
    const reader = await read(broker, "a");
    await publishMany(broker, "a", 2);
    await reader.take(2);
    await client.del(`${prefix}a`);
    // The audit finds it within maxAge / 2.
    await reader.expectNext("gap");
    await broker.publish("a", { data: "new" });
    await reader.expectNext("new");
  });

  it("is a gap to who was there, where a replica that lagged has become the master", async () => {
    const { broker, prefix, client } = open();
    const reader = await read(broker, "a");
    await publishMany(broker, "a", 2);
    await reader.take(2);
    // What a replica has that missed some events; its clock is late, too.
    const [before, late] = [`${Date.now() - 9000}-0`, `${Date.now() - 8000}-0`];
    await client.multi().del(`${prefix}a`).xAdd(`${prefix}a`, before, { after: "0-0", json: "0" }).exec();
    await cutOthers(client);
    await reader.expectNext("gap");
    await client.xAdd(`${prefix}a`, late, { after: before, text: "late" });
    await broker.publish("a", { data: "new" });
    await reader.expectNext(0, "late", "new");
  });

  it("is a gap to who was there, where it has come back empty with its clock behind", async () => {
    const { broker, prefix, client } = open();
    const reader = await read(broker, "a");
    // Written when its clock was a minute ahead of what it is now.
    const lastEventId = `${Date.now() + 60_000}-0`;
    await client.xAdd(`${prefix}a`, lastEventId, { after: "0-0", text: "old" });
    await reader.take(1);
    await client.del(`${prefix}a`);
    await cutOthers(client);
    await broker.publish("a", { data: "new" });
    expect(await reader.take(2)).toMatchObject([{ event: "gap", data: { lastEventId } }, { data: "new" }]);
  });

  it("is a gap and then all that Redis holds, where it was written to before anybody was back", async () => {
    const { broker, prefix, client } = open();
    const [reader, behind] = [await read(broker, "a"), await read(broker, "a")];
    const [shared, lost] = [`${Date.now() + 50_000}-0`, `${Date.now() + 60_000}-0`];
    await client.xAdd(`${prefix}a`, shared, { after: "0-0", text: "shared" });
    await client.xAdd(`${prefix}a`, lost, { after: shared, text: "lost" });
    await reader.take(2);
    await behind.take(1);
    // In one step: as a replica that lagged and had become the master before anybody was connected to it.
    const [one, two] = [`${Date.now() + 51_000}-0`, `${Date.now() + 52_000}-0`];
    await client
      .multi()
      .xDel(`${prefix}a`, lost)
      .xSetId(`${prefix}a`, shared)
      .xAdd(`${prefix}a`, one, { after: shared, text: "new 1" })
      .xAdd(`${prefix}a`, two, { after: one, text: "new 2" })
      .exec();
    await ring(client, `${prefix}a`);
    await reader.expectNext("gap", "new 1", "new 2");
    // Nothing that it had read is lost.
    await behind.expectNext("new 1", "new 2");
  });

  it("is a gap and the end to who waits for an answer whose producer has died at the same time", async () => {
    const dying = await connect(redis.url);
    const { broker, prefix, client } = open();
    const { broker: producing } = open({ client: dying, prefix });
    await producing.produce("a", endless, { lease: 1_000 });
    const readers = await Promise.all([1, 2].map(() => read(broker, "a", { from: "start" })));
    for (const reader of readers) await reader.expectNext("first");
    dying.destroy();
    await client.del(`${prefix}a`);
    for (const reader of readers) expect((await reader.rest()).map(({ event }) => event)).toEqual(["gap", "lost"]);
    expect(await broker.produce("a", endless)).toBeUndefined();
  });

  it("is a gap and the end to who has just subscribed to an answer whose producer has died at the same time", async () => {
    const dying = await connect(redis.url);
    const { broker, prefix, client } = open();
    const { broker: producing } = open({ client: dying, prefix });
    await producing.produce("a", endless, { lease: 1_000 });
    await expect.poll(() => client.xLen(`${prefix}a`)).toBe(1);
    const reader = await read(broker, "a");
    dying.destroy();
    await client.del(`${prefix}a`);
    expect((await reader.rest()).map(({ event }) => event)).toEqual(["gap", "lost"]);
  });

  it("is one gap in a subscription to several channels, and none of their events twice", async () => {
    const { broker, prefix, client } = open();
    const reader = await read(broker, ["c", "d"]);
    for (const n of [1, 2]) for (const name of ["c", "d"]) await broker.publish(name, { data: `${name}${n}` });
    // Between channels there is no order.
    expect(dataOf(await reader.take(4)).sort()).toEqual(["c1", "c2", "d1", "d2"]);
    await client.del(`${prefix}d`);
    await broker.publish("d", { data: "new1" });
    await broker.publish("d", { data: "new2" });
    await reader.expectNext("gap", "new1", "new2");
  });

  it("is told where another server is behind the address, to the last of many channels", async () => {
    const other = new RedisServer([]);
    await other.start();
    onTestFinished(() => other.remove());
    let port = redis.port;
    const proxy = await new TcpProxy(() => [port]).listen();
    onTestFinished(() => proxy.close());
    const client = await connect(`redis://127.0.0.1:${proxy.port}`);
    onTestFinished(() => client.destroy());
    const { broker } = open({ client });
    const names = Array.from({ length: 300 }, (_, n) => `many ${n}`);
    const readers = await Promise.all(names.map((name) => read(broker, name)));
    const first = readers.map((reader) => reader.take(1));
    await Promise.all(names.map((name) => broker.publish(name, { data: "old" })));
    await Promise.all(first);
    const next = readers.map((reader) => reader.take(2));
    port = other.port;
    proxy.cut();
    proxy.mend();
    for (const name of names)
      await expect.poll(() => broker.publish(name, { data: "new" }).catch(() => undefined)).toBeDefined();
    for (const events of await Promise.all(next)) expect(dataOf(events)).toEqual(["gap", "new"]);
  });
});

describeWithRedis("Redis with all it should have", (redis) => {
  const open = connected(redis);
  /** A process that stands still for longer does not know what it has missed. */
  const maxAge = 1_500;

  it("is no gap where the key of an idle channel has aged out", async () => {
    const { broker, prefix, client } = open({ history: { maxAge } });
    const reader = await read(broker, "a");
    await publishMany(broker, "a", 2);
    await reader.take(2);
    const next = reader.take(2);
    await expect.poll(() => client.exists(`${prefix}a`)).toBe(0);
    await broker.publish("a", { data: "new" });
    await broker.publish("a", { data: "newer" });
    expect(dataOf(await next)).toEqual(["new", "newer"]);
  });

  it("is no gap to who comes back to several channels, of which one was quiet for longer than anything is kept", async () => {
    const { broker, prefix, client } = open({ history: { maxAge } });
    const first = await read(broker, ["quiet", "busy", "empty"]);
    await broker.publish("quiet", { data: 0 });
    await first.take(1);
    const waiting = first.take(1);
    await expect.poll(() => client.exists(`${prefix}quiet`)).toBe(0);
    await broker.publish("busy", { data: 1 });
    const [{ id }] = (await waiting) as [{ id: string }];
    void first.return();
    await broker.publish("empty", { data: 2 });
    await (await read(broker, ["quiet", "busy", "empty"], { lastEventId: id })).expectNext(2);
  });

  it("loses nothing of an empty channel where its clock steps back", async () => {
    const { broker, prefix, client } = open();
    const reader = await read(broker, ["a", "b"]);
    const next = reader.take(2);
    await broker.publish("b", { data: "b" });
    // As it would be stored with the clock two seconds behind.
    await client.xAdd(`${prefix}a`, `${Date.now() - 2000}-0`, { after: "0-0", text: "late" });
    await ring(client, `${prefix}a`);
    expect(dataOf(await next).sort()).toEqual(["b", "late"]);
    // And what is stored next is newer, whatever the clock says.
    const ahead = `${Date.now() + 60_000}-0`;
    await client.xAdd(`${prefix}c`, ahead, { after: "0-0", text: "ahead" });
    expect((await broker.publish("c", { data: "next" })) > ahead).toBe(true);
  });
});
