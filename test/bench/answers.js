// Answers through Redis, from one process that produces to another that reads: npm run build, then node test/bench/answers.js
import { fork, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "redis";
import { redisBroker } from "../../dist/redis.js";
import { quantile } from "./statistics.js";

const history = { maxEvents: 25_000 };
const token = "token ".repeat(2);

async function open(url) {
  const client = createClient({ url }).on("error", () => {});
  await client.connect();
  return { client, broker: redisBroker({ client, prefix: "answers:", history, timeout: 60_000 }) };
}

/** Reads an answer from its start; resolves with how many tokens it had, once its end is there. */
async function read(broker, channel) {
  let tokens = 0;
  let last;
  for await (const { data } of await broker.subscribe(channel, { from: "start" })) {
    if (data === token) tokens += 1;
    else last = data;
  }
  if (last !== "last") throw new Error(`${channel} ended with ${last}`);
  return tokens;
}

async function readers() {
  const { broker } = await open(process.env.REDIS_URL);
  process.on("message", async ({ name, answers }) => {
    const reading = Array.from({ length: answers }, async (_, n) => {
      const tokens = await read(broker, `${name} ${n}`);
      return { tokens, ended: Date.now() };
    });
    process.send(await Promise.all(reading));
  });
  process.send("ready");
}

async function measure() {
  const port = Number(process.env.PORT ?? 36_479);
  const directory = mkdtempSync(join(tmpdir(), "answers-bench-"));
  const server = spawn("redis-server", ["--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", directory]);
  await sleep(300);
  const url = `redis://127.0.0.1:${port}`;
  const { client, broker } = await open(url);
  const reading = fork(process.argv[1], ["readers"], { env: { ...process.env, REDIS_URL: url } });
  await once(reading, "message");

  /** @param pace milliseconds between two tokens of an answer; 0: as fast as they are stored */
  async function run(name, answers, tokens, pace) {
    async function* source() {
      for (let n = 0; n < tokens; n++) {
        if (pace > 0) await sleep(pace);
        yield { data: token };
      }
      yield { data: "last" };
    }
    const cpu = process.cpuUsage();
    const begun = Date.now();
    reading.send({ name, answers });
    const [read] = await Promise.all([
      once(reading, "message").then(([answer]) => answer),
      ...Array.from({ length: answers }, async (_, n) => {
        const producing = await broker.produce(`${name} ${n}`, source);
        if ((await producing.done) !== "completed") throw new Error(`${name} ${n} was not completed`);
      }),
    ]);
    const all = read.reduce((sum, { tokens }) => sum + tokens, 0);
    if (all !== answers * tokens) throw new Error(`${all} of ${answers * tokens} tokens were read`);
    const took = read.map(({ ended }) => ended - begun);
    const { user, system } = process.cpuUsage(cpu);
    console.log(
      `${answers} × ${tokens} tokens, ${pace === 0 ? "as fast as they are stored" : `one each ${pace} ms`}`.padEnd(56),
      `${Math.round((all / Math.max(...took)) * 1_000)} tokens a second`,
      `whole answer p50 ${Math.round(quantile(took, 0.5))}, last ${Math.max(...took)} ms`,
      `CPU of the producing process ${Math.round((user + system) / all)} µs a token`,
    );
  }

  await run("warm", 1, 5_000, 0);
  for (let round = 0; round < 3; round++) await run(`one ${round}`, 1, 20_000, 0);
  for (let round = 0; round < 2; round++) await run(`thousand ${round}`, 1_000, 200, 0);
  await run("model", 1_000, 100, 100);

  reading.kill();
  await broker.close();
  client.destroy();
  server.kill("SIGKILL");
  await once(server, "exit");
  rmSync(directory, { recursive: true, force: true });
}

await (process.argv[2] === "readers" ? readers() : measure());
