/**
 * What a second process brings: one event to 2,000 streams of one or two processes behind one port, published by a third.
 *
 *     REDIS_URL=redis://… DATABASE_URL=postgres://… npm run workers
 *
 * A broker without an address is left out. The database should be one of its own: the schema "bench" is dropped before.
 */
import cluster from "node:cluster";
import { setTimeout as sleep } from "node:timers/promises";
import { cpus } from "node:os";
import { makers } from "./event.js";
import { expressServer } from "./contenders/express.js";
import { start } from "./processes.js";
import { median, quantile } from "./statistics.js";

const streams = 2_000;
const events = 100;
const addresses = { redis: process.env.REDIS_URL, postgres: process.env.DATABASE_URL };

const open = {
  async redis(url) {
    const { createClient } = await import("redis");
    const { redisBroker } = await import("../../dist/redis.js");
    const client = await createClient({ url }).connect();
    return redisBroker({ client, prefix: "bench:" });
  },
  async postgres(connectionString) {
    const { default: pg } = await import("pg");
    const { postgresBroker } = await import("../../dist/postgres.js");
    return postgresBroker({ pool: new pg.Pool({ connectionString }), schema: "bench" });
  },
};

async function work() {
  const { eventSource } = await import("../../dist/index.js");
  const broker = await open[process.env.BROKER](addresses[process.env.BROKER]);
  const server = expressServer({ "/room": eventSource((req, stream) => broker.subscribe("room", stream)) });
  process.on("message", () => process.send({ cpu: process.cpuUsage() }));
  process.on("disconnect", () => process.exit());
  server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => process.send({ port: server.address().port }));
}

function answerOf(worker) {
  return new Promise((resolve) => worker.once("message", resolve));
}

/** The CPU time of all workers, in µs. */
async function cpuOf(workers) {
  const answers = workers.map(answerOf);
  for (const worker of workers) worker.send("cpu");
  return (await Promise.all(answers)).reduce((sum, { cpu }) => sum + cpu.user + cpu.system, 0);
}

async function measure(name, processes) {
  const publisher = await open[name](addresses[name]);
  const workers = Array.from({ length: processes }, () => cluster.fork({ BROKER: name }));
  const [{ port }] = await Promise.all(workers.map(answerOf));
  const client = await start("client.js", 1, ["0"]);
  await client.ask("hold", { port, streams, path: "/room" });
  await sleep(500);
  const deliver = async (n) => {
    const { event, data } = makers.event(n);
    await client.ask("arm");
    const at = process.hrtime.bigint();
    await publisher.publish("room", { event, data });
    return client.ask("waits", String(at));
  };
  for (let n = 0; n < 30; n++) await deliver(n);
  const before = await cpuOf(workers);
  const waits = [];
  for (let n = 0; n < events; n++) waits.push(await deliver(n));
  const cpu = (await cpuOf(workers)) - before;
  await client.stop();
  for (const worker of workers) worker.kill();
  await publisher.close();
  const of = (q) => median(waits.map((one) => quantile(one, q))).toFixed(1);
  return [name, processes, of(0), of(0.5), of(1), (cpu / events / streams).toFixed(1)];
}

if (cluster.isWorker) await work();
else {
  console.log(`Node ${process.version}, ${cpus()[0]?.model ?? "unknown CPU"}, ${cpus().length} cores\n`);
  const rows = [["", "processes", "first client ms", "p50 ms", "last client ms", "CPU µs/delivery"]];
  if (addresses.postgres !== undefined) {
    const { default: pg } = await import("pg");
    const pool = new pg.Pool({ connectionString: addresses.postgres });
    await pool.query("DROP SCHEMA IF EXISTS bench CASCADE");
    await pool.end();
    await (await open.postgres(addresses.postgres)).migrate();
  }
  for (const name of Object.keys(addresses).filter((name) => addresses[name] !== undefined))
    for (const processes of [1, 2, 1, 2]) rows.push(await measure(name, processes));
  rows.splice(
    1,
    0,
    rows[0].map(() => "---:"),
  );
  console.log(rows.map((row) => `| ${row.join(" | ")} |`).join("\n"));
  process.exit();
}
