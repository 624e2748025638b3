// Three processes behind nginx, their events in Redis; redis-server and nginx must be installed. Open several tabs,
// and crash the process that serves one of them: nothing is missing, nothing comes twice.
//
//     npx tsx examples/cluster/start.ts
//     REDIS=cluster npx tsx examples/cluster/start.ts     # on a Redis Cluster of three masters
//     curl -N http://localhost:3000/numbers
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { redisBroker } from "express-event-source/redis";
import { connectRedis, createRedisCluster, isCluster, serverArguments } from "./redis.js";

// nginx, the three processes, Redis: 3000, 3001 to 3003, 3004 (and, in a cluster, 3005 and 3006).
const port = Number(process.env.PORT ?? 3000);
const redisPorts = isCluster ? [port + 4, port + 5, port + 6] : [port + 4];
const redisUrl = process.env.REDIS_URL ?? `redis://127.0.0.1:${port + 4}`;
const here = (file: string) => fileURLToPath(new URL(file, import.meta.url));
const directory = mkdtempSync(join(tmpdir(), "cluster-example-"));
const children = new Set<ChildProcess>();
let isStopping = false;

function start(command: string, args: string[], env: Record<string, string> = {}): ChildProcess {
  const child = spawn(command, args, { stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, ...env } });
  children.add(child.once("exit", () => children.delete(child)));
  child.once("error", (error) => {
    console.log("%s cannot be started: %s", command, error.message);
    children.delete(child);
    void stop();
  });
  return child;
}

/** A process that crashes is started again, as a supervisor would do it. */
function startApp(appPort: number): void {
  const app = start(process.execPath, ["--import", "tsx", here("app.ts")], {
    PORT: String(appPort),
    REDIS_URL: redisUrl,
  });
  app.once("exit", () => {
    if (!isStopping) setTimeout(startApp, 1000, appPort);
  });
}

async function stop(): Promise<void> {
  isStopping = true;
  const exits = [...children].map((child) => once(child, "exit"));
  for (const child of children) child.kill("SIGTERM");
  await Promise.all(exits);
  rmSync(directory, { recursive: true, force: true });
  process.exit();
}
process.once("SIGINT", () => void stop()).once("SIGTERM", () => void stop());

if (process.env.REDIS_URL === undefined) {
  for (const redisPort of redisPorts) {
    const redisDirectory = join(directory, String(redisPort));
    mkdirSync(redisDirectory);
    start("redis-server", serverArguments(redisPort, redisDirectory));
  }
  if (isCluster) await createRedisCluster(redisPorts);
}
const client = await connectRedis(redisUrl, () => {});

for (const n of [1, 2, 3]) startApp(port + n);

const configuration = readFileSync(here("nginx.conf"), "utf8").replace(
  /127\.0\.0\.1:300(\d)/g,
  (_all, n) => `127.0.0.1:${port + Number(n)}`,
);
writeFileSync(join(directory, "nginx.conf"), configuration);
mkdirSync(join(directory, "temp"));
start("nginx", [
  "-p",
  directory,
  "-c",
  join(directory, "nginx.conf"),
  "-e",
  "stderr",
  "-g",
  `daemon off; pid ${directory}/nginx.pid; error_log stderr crit;`,
]);
console.log("http://localhost:%d/", port);

// A process of its own publishes: those that serve come and go.
const broker = redisBroker({ client, prefix: "cluster-example:" });
for (let number = 1; !isStopping; number++) {
  await broker
    .publish("numbers", { data: number })
    .catch((error: Error) => console.log("%d may be missing: %s", number, error.message));
  await sleep(200);
}
