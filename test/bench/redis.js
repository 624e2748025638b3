// What redisBroker costs beside bare XADD and bare pub/sub of the same client: npm run build, then node --expose-gc test/bench/redis.js
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { createClient } from "redis";
import { redisBroker } from "../../dist/redis.js";
import { quantile } from "./statistics.js";

const port = Number(process.env.PORT ?? 36_379);
const steps = [10, 1000, 10_000, 20_000, 50_000, 100_000].filter(
  (channels) => channels <= (process.env.CHANNELS ?? 100_000),
);
const data = "x".repeat(60);
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
const subscriber = await connect();

const say = (what, ...figures) => console.log(what.padEnd(44), figures.join(" · "));
const milliseconds = (value) => `${value.toFixed(2)} ms`;
const heap = () => {
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
};
const memoryOfRedis = async () => Number(/used_memory:(\d+)/.exec(await client.info("memory"))[1]);

/** What `work` took: wall time and CPU in milliseconds, and the longest time for which it held the event loop. */
async function watch(work) {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const cpu = process.cpuUsage();
  const begun = performance.now();
  await work();
  const took = performance.now() - begun;
  const { user, system } = process.cpuUsage(cpu);
  delay.disable();
  return { took, cpu: (user + system) / 1000, block: delay.max / 1e6 };
}

/** How long each of so many events takes from before its publish until it is received, with a pause before each. */
async function latencies(rounds, pause, publish, next) {
  const took = [];
  for (let n = 0; n < rounds; n++) {
    if (pause > 0) await sleep(pause);
    const received = next();
    const begun = performance.now();
    await Promise.all([publish(), received]);
    took.push(performance.now() - begun);
  }
  return took;
}

/** Operations a second, with so many in flight. */
async function throughput(operation, { total = 8000, inFlight = 64 } = {}) {
  let left = total;
  const begun = performance.now();
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      while (left-- > 0) await operation();
    }),
  );
  return (total / (performance.now() - begun)) * 1000;
}

let hear = () => {};
await subscriber.subscribe("bare", () => hear());
const bare = {
  publish: () => client.publish("bare", data),
  next: () => new Promise((resolve) => (hear = resolve)),
};
const broker = redisBroker({ client, prefix: "bench:", timeout: 60_000 });

/** p50 and p99 of an event, and of a bare message: in turns, so that a slow moment of the machine hits both. */
async function compare(channels) {
  const name = `own ${channels}`;
  const reader = (await broker.subscribe(name))[Symbol.asyncIterator]();
  const own = { publish: () => broker.publish(name, { data }), next: () => reader.next() };
  for (const [what, pause] of Object.entries({ "one after the other": 0, "one every 3 ms": 3 })) {
    const found = [own, bare].map((contender) => ({ ...contender, took: [], cpu: [] }));
    for (let turn = 0; turn < 22; turn++) {
      for (const { publish, next, took, cpu } of found) {
        const before = process.cpuUsage();
        const times = await latencies(100, pause, publish, next);
        const { user, system } = process.cpuUsage(before);
        // The first turns are warm-up.
        if (turn < 2) continue;
        took.push(...times);
        cpu.push((user + system) / 100);
      }
    }
    const figures = found.map(
      ({ took, cpu }) =>
        `p50 ${milliseconds(quantile(took, 0.5))}, p99 ${milliseconds(quantile(took, 0.99))}, ` +
        `CPU ${Math.round(quantile(cpu, 0.5))} µs`,
    );
    const ratio = quantile(found[0].took, 0.5) / quantile(found[1].took, 0.5);
    say(`${channels} channels, ${what}`, figures[0], `bare ${figures[1]}`, `ratio ${ratio.toFixed(2)}`);
  }
  await reader.return();
}

const readers = [];
let channels = 0;
async function subscribe(count, inOneTurn) {
  const subscribing = [];
  while (subscribing.length < count) {
    for (let n = 0; n < inOneTurn && subscribing.length < count; n++) {
      const name = `channel ${channels++}`;
      subscribing.push(
        broker.subscribe(name).then((subscription) => {
          const reader = subscription[Symbol.asyncIterator]();
          readers.push(reader);
          reader.next().catch(() => {});
        }),
      );
    }
    await nextTurn();
  }
  await Promise.all(subscribing);
}

/** Resolves when Redis sends messages of so many channels to one connection. */
async function subscribed(count) {
  for (;;) {
    const list = await client.sendCommand(["CLIENT", "LIST", "TYPE", "pubsub"]);
    if (list.split("\n").some((line) => Number(/ sub=(\d+)/.exec(line)?.[1]) >= count)) return;
    await sleep(5);
  }
}

for (const step of steps) {
  const before = heap();
  const added = step - channels;
  // 100 in a turn is how requests come that are read as quickly as they can be. The last step before 50,000 is a storm.
  const inOneTurn = step === 20_000 ? 10_000 : 100;
  const { took, cpu, block } = await watch(async () => {
    while (channels < step) await subscribe(Math.min(10_000, step - channels), inOneTurn);
    await subscribed(step);
  });
  // What Redis was asked to check has been answered when this has.
  await sleep(500);
  say(
    `${added} subscribe, ${Math.min(added, inOneTurn)} in a turn`,
    milliseconds(took),
    `CPU ${Math.round((cpu * 1000) / added)} µs each`,
    `longest block ${Math.round(block)} ms`,
    `heap ${Math.round((heap() - before) / added)} bytes each`,
  );
  await compare(step);
  if (step === 20_000 || step === steps.at(-1)) await reconnect(step);
}

/** Cuts every connection of the broker's, and publishes to channels all over the list before it is back. */
async function reconnect(count) {
  const sample = Array.from({ length: 100 }, (_, n) => Math.floor((n * count) / 100));
  const { took, cpu, block } = await watch(async () => {
    const iterators = await Promise.all(
      sample.map(async (n) => (await broker.subscribe(`channel ${n}`))[Symbol.asyncIterator]()),
    );
    const heard = iterators.map((iterator) => iterator.next());
    await client.sendCommand(["CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes"]);
    await client.sendCommand(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    await Promise.all(sample.map((n) => broker.publish(`channel ${n}`, { data })));
    await Promise.all(heard);
    await subscribed(count);
    await Promise.all(iterators.map((iterator) => iterator.return()));
  });
  say(
    `reconnect with ${count} channels`,
    `${milliseconds(took)} until all hear, none of 100 missed`,
    `CPU ${Math.round((cpu * 1000) / count)} µs each`,
    `longest block ${Math.round(block)} ms`,
  );
}

const xadd = () =>
  client.xAdd("bare stream", "*", { data }, { TRIM: { strategy: "MAXLEN", strategyModifier: "~", threshold: 1000 } });
let n = 0;
const contenders = {
  "bare XADD": xadd,
  "publish into one channel": () => broker.publish("one", { data }),
  "publish into 64 channels": () => broker.publish(`many ${n++ % 64}`, { data }),
};
const found = Object.fromEntries(Object.keys(contenders).map((name) => [name, []]));
for (let turn = 0; turn < 42; turn++)
  for (const [name, operation] of Object.entries(contenders)) {
    const rate = await throughput(operation);
    if (turn > 1) found[name].push(rate);
  }
for (const [name, rates] of Object.entries(found)) {
  const ratios = rates.map((rate, turn) => rate / found["bare XADD"][turn]);
  say(
    `${name}, 64 in flight`,
    `${Math.round(quantile(rates, 0.5))} a second`,
    `ratio ${quantile(ratios, 0.5).toFixed(2)}`,
  );
}

const small = await memoryOfRedis();
for (let first = 0; first < 10_000; first += 1000)
  await Promise.all(Array.from({ length: 1000 }, (_, n) => broker.publish(`small ${first + n}`, { data })));
say("a channel with one event, in Redis", `${Math.round(((await memoryOfRedis()) - small) / 10_000)} bytes`);

await broker.close();
client.destroy();
subscriber.destroy();
server.kill("SIGKILL");
await once(server, "exit");
rmSync(directory, { recursive: true, force: true });
