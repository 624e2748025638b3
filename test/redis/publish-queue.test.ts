import { redisBroker } from "express-event-source/redis";
import { Redis } from "ioredis";
import { expect, it, onTestFinished, vi } from "vitest";
import { clients } from "./clients.js";
import { connect } from "./connected.js";
import { describeWithRedis } from "./redis-server.js";
import { sentMeanwhile, size } from "./sent-meanwhile.js";

describeWithRedis("redisBroker: those whose events wait for one another", (redis) => {
  it.each(Object.entries(clients))("go on when the next event has been sent: %s", async (_name, open) => {
    expect(await sentMeanwhile(() => open(redis.url))).toBeGreaterThan(size);
  });

  it("are told in order, also if the client is closed before it gets the next events", async () => {
    const client = await connect(redis.url);
    const broker = redisBroker({ client });
    await broker.publish("a", { data: "Redis knows the script now" });
    const order: string[] = [];
    const publishing = ["first", "second", "third"].map((data) =>
      broker.publish("a", { data }).then(
        () => order.push(`${data}: stored`),
        () => order.push(`${data}: rejected`),
      ),
    );
    const send = client.sendCommand.bind(client);
    vi.spyOn(client, "sendCommand").mockImplementation((...args) => {
      client.destroy();
      return send(...args);
    });
    await Promise.all(publishing);
    expect(order).toEqual(["first: stored", "second: rejected", "third: rejected"]);
  });

  it("go on under fake timers, too", async () => {
    const client = new Redis(redis.url);
    onTestFinished(() => client.disconnect());
    const broker = redisBroker({ client });
    await broker.publish("a", { data: "Redis knows the script now" });
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    await Promise.all([1, 2, 3].map((data) => broker.publish("a", { data })));
  });
});
