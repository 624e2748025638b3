import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { redisBroker } from "express-event-source/redis";
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { produceContract } from "../broker/contract-produce.js";
import { read } from "../broker/contract.js";
import { clients, type TestClient } from "./clients.js";
import { type Client, connect, connected } from "./connected.js";
import { describeWithRedis } from "./redis-server.js";
import { TcpProxy } from "./tcp-proxy.js";

for (const name of ["node-redis", "ioredis 6"]) {
  describeWithRedis(name, (redis) => {
    const create = clients[name] as (url: string) => Promise<TestClient>;
    let client: TestClient;
    let brokers = 0;
    beforeAll(async () => {
      client = await create(redis.url);
    });
    afterAll(() => client.close());

    produceContract(`redisBroker on ${name}`, {
      open: (history) => redisBroker({ client: client.client, prefix: `${brokers++}:`, history }),
      pass: async (milliseconds) => void (await sleep(milliseconds)),
      async share(history) {
        const network = await new TcpProxy(() => [redis.port]).listen();
        const cutOff = await create(network.url);
        onTestFinished(() => {
          cutOff.close();
          network.close();
        });
        const prefix = `${brokers++}:`;
        return {
          producing: redisBroker({ client: cutOff.client, prefix, history, timeout: 300 }),
          other: redisBroker({ client: client.client, prefix, history }),
          cut: () => network.cut(),
          deafen: () => network.deafen(),
          restore() {
            // What was swallowed is not made good on the same connection.
            network.cut();
            network.mend();
          },
          forget: (channel) => (client.client as unknown as Pick<Client, "del">).del(prefix + channel).then(() => {}),
        };
      },
    });
  });
}

describeWithRedis("a client that the application has closed", (redis) => {
  it.each(Object.entries(clients))("has produce reject at once, with %s", async (_name, create) => {
    const { client, close } = await create(redis.url);
    const broker = redisBroker({ client });
    onTestFinished(() => broker.close());
    await broker.publish("a", { data: 0 });
    await close();
    await expect(broker.produce("b", () => [], { lease: 600_000 })).rejects.toMatchObject({
      code: "ERR_BROKER_UNAVAILABLE",
    });
  });
});

describeWithRedis("Redis whose memory is full", (redis) => {
  const open = connected(redis);

  it("tells that a producer is lost as soon as it has room for that", async () => {
    const dying = await connect(redis.url);
    const { broker, prefix, client } = open();
    await open({ client: dying, prefix }).broker.produce(
      "a",
      async function* ({ signal }) {
        yield { data: "first" };
        await once(signal, "abort");
      },
      { lease: 1_000 },
    );
    const reader = await read(broker, "a", { from: "start" });
    await reader.expectNext("first");
    dying.destroy();
    await client.configSet("maxmemory", "1");
    await expect
      .poll(() => client.info("commandstats"), { timeout: 10_000 })
      .toMatch(/cmdstat_xadd:.*rejected_calls=[1-9]/);
    await client.configSet("maxmemory", "0");
    expect((await reader.rest()).map(({ event }) => event)).toEqual(["lost"]);
  });
});
