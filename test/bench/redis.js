// What redisBroker costs beside bare XADD and bare pub/sub of the same client: npm run build, then node --expose-gc test/bench/redis.js
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "redis";
import { redisBroker } from "../../dist/redis.js";

const port = Number(process.env.PORT ?? 36_379);
const most = Number(process.env.CHANNELS ?? 100_000);
const directory = mkdtempSync(join(tmpdir(), "redis-bench-"));
const server = spawn(
  "redis-server",
  ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", directory, "--stream-node-max-bytes", "512"],
  { stdio: "ignore" },
);
const url = `redis://127.0.0.1:${port}`;
await sleep(300);
const connect = () =>
  createClient({ url })
    .on("error", () => {})
    .connect();
const client = await connect();

const percentile = (values, share) => values.sort((a, b) => a - b)[Math.floor(values.length * share)];
const say = (what, ...figures) => console.log(what.padEnd(44), ...figures);
const milliseconds = (value) => `${value.toFixed(2)} ms`;
const heap = () => {
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
};

/** Latency from before the publish until `next` resolves, one after the other. */
async function latency(rounds, publish, next) {
  const took = [];
  const cpu = process.cpuUsage();
  for (let n = 0; n < rounds; n++) {
    const received = next(n);
    const begun = performance.now();
    await Promise.all([publish(n), received]);
    took.push(performance.now() - begun);
  }
  const { user, system } = process.cpuUsage(cpu);
  return [
    `p50 ${milliseconds(percentile(took, 0.5))}`,
    `p99 ${milliseconds(percentile(took, 0.99))}`,
    `CPU ${Math.round((user + system) / rounds)} µs`,
  ];
}

/** Operations a second with so many in flight. */
async function throughput(operation, { total = 20_000, inFlight = 64 } = {}) {
  let left = total;
  const begun = performance.now();
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      while (left-- > 0) await operation();
    }),
  );
  return Math.round((total / (performance.now() - begun)) * 1000);
}

// Bare pub/sub.
const subscriber = await connect();
let resolveMessage = () => {};
await subscriber.subscribe("bare", () => resolveMessage());
const bare = () => new Promise((resolve) => (resolveMessage = resolve));
await latency(500, () => client.publish("bare", "x".repeat(60)), bare);
say("bare pub/sub", ...(await latency(1000, () => client.publish("bare", "x".repeat(60)), bare)));

const broker = redisBroker({ client, prefix: "bench:", timeout: 60_000 });
const data = "x".repeat(60);
for (
  let channels = 0, goal = 10;
  goal <= most;
  goal = goal === 10 ? 1000 : goal === 1000 ? 10_000 : goal === 10_000 ? 50_000 : goal * 2
) {
  const before = heap();
  const cpu = process.cpuUsage();
  const added = goal - channels;
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  const readers = [];
  for (; channels < goal;) {
    const batch = Array.from({ length: Math.min(10_000, goal - channels) }, async () => {
      const reader = (await broker.subscribe(`channel ${channels++}`))[Symbol.asyncIterator]();
      readers.push(reader);
      reader.next().catch(() => {});
    });
    await Promise.all(batch);
  }
  await sleep(Math.max(500, goal / 20));
  delay.disable();
  const { user, system } = process.cpuUsage(cpu);
  say(
    `${added} subscribes`,
    `CPU ${Math.round((user + system) / added)} µs each`,
    `longest block ${Math.round(delay.max / 1e6)} ms`,
    `${Math.round((heap() - before) / added)} bytes each`,
  );
  const name = `own ${goal}`;
  const reader = (await broker.subscribe(name))[Symbol.asyncIterator]();
  await latency(
    300,
    () => broker.publish(name, { data }),
    () => reader.next(),
  );
  say(
    `${goal} channels`,
    ...(await latency(
      1000,
      () => broker.publish(name, { data }),
      () => reader.next(),
    )),
  );
}

for (let round = 0; round < 2; round++) {
  say(
    "XADD, 64 in flight",
    await throughput(() =>
      client.xAdd(
        "bare stream",
        "*",
        { data },
        { TRIM: { strategy: "MAXLEN", strategyModifier: "~", threshold: 1000 } },
      ),
    ),
    "a second",
  );
  say("publish into one channel, 64 in flight", await throughput(() => broker.publish("one", { data })), "a second");
  let n = 0;
  say(
    "publish into 64 channels, 64 in flight",
    await throughput(() => broker.publish(`many ${n++ % 64}`, { data })),
    "a second",
  );
}

const begun = performance.now();
const reader = (await broker.subscribe("channel 5"))[Symbol.asyncIterator]();
const after = reader.next();
await client.sendCommand(["CLIENT", "KILL", "TYPE", "pubsub"]);
await client.sendCommand(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
await broker.publish("channel 5", { data });
await after;
say(`reconnect with ${most} channels, until one hears`, milliseconds(performance.now() - begun));

await broker.close();
client.destroy();
subscriber.destroy();
server.kill("SIGKILL");
await once(server, "exit");
rmSync(directory, { recursive: true, force: true });
