// One of the processes that start.ts starts.
import { readFileSync } from "node:fs";
import express from "express";
import { eventSource } from "express-event-source";
import { redisBroker } from "express-event-source/redis";
import { connectRedis } from "./redis.js";

const { PORT, REDIS_URL } = process.env;
const client = await connectRedis(REDIS_URL as string, (error) =>
  console.log("process %d: Redis: %s", process.pid, error.message),
);
const broker = redisBroker({ client, prefix: "cluster-example:" });
const app = express();
const page = readFileSync(new URL("page.html", import.meta.url), "utf8");

app.get("/", (_req, res) => void res.type("html").send(page));

app.get(
  "/numbers",
  eventSource(
    async function* (_req, stream) {
      yield { event: "process", data: process.pid };
      // An EventSource gives up on any status but 200: while Redis is away, it is told to come back instead.
      const numbers = await broker.subscribe("numbers", stream).catch(() => undefined);
      if (numbers !== undefined) yield* numbers;
    },
    { retry: () => 200 + Math.random() * 300 },
  ),
);

// nginx sends this to any of the processes; the broker tells the one that is meant.
app.post("/crash/:process", async (req, res) => {
  await broker.publish("crash", { data: Number(req.params.process) });
  res.sendStatus(202);
});

app.listen(Number(PORT), "127.0.0.1", () => console.log("process %d serves http://127.0.0.1:%s", process.pid, PORT));

for await (const { data } of await broker.subscribe("crash")) {
  // As a crash would: nothing is said to anybody.
  if (data === process.pid) process.kill(process.pid, "SIGKILL");
}
