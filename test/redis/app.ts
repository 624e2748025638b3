import type { AddressInfo } from "node:net";
import express from "express";
import { eventSource } from "express-event-source";
import { redisBroker } from "express-event-source/redis";
import { createClient } from "redis";

// One of several processes behind one address: the fault tests start it, and kill it.

const client = createClient({ url: process.env["REDIS_URL"] as string });
client.on("error", () => {});
await client.connect();
const broker = redisBroker({ client, history: { maxEvents: 10_000 }, timeout: 300 });

const app = express();
app.get(
  "/:channel",
  eventSource<{ channel: string }>(
    ({ params }, { lastEventId, signal }) =>
      // Anything but 200 would stop an EventSource for good: while Redis is away, it is told to come back.
      broker.subscribe(params.channel, { lastEventId, signal, from: "start" }).catch(() => [{ comment: "come back" }]),
    { retry: 50 },
  ),
);
const server = app.listen(0, "127.0.0.1", () => console.log((server.address() as AddressInfo).port));
