// The Redis of this example: one server, or with REDIS=cluster a Redis Cluster, of which `url` names one node.
import { execFile } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { createClient, createCluster } from "redis";

export const isCluster = process.env.REDIS === "cluster";

/** The broker takes either client; nothing else in the application differs. */
export async function connectRedis(url: string, onError: (error: Error) => void) {
  return isCluster
    ? await createCluster({ rootNodes: [{ url }] })
        .on("error", onError)
        .connect()
    : await createClient({ url }).on("error", onError).connect();
}

/** Arguments of a redis-server for this example. It writes its append-only file before it replies, so its crash loses nothing. */
export function serverArguments(port: number, directory: string): string[] {
  const settings = {
    port,
    bind: "127.0.0.1",
    dir: directory,
    logfile: "redis.log",
    save: "",
    appendonly: "yes",
    appendfsync: "always",
    "cluster-enabled": isCluster ? "yes" : "no",
  };
  return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
}

/** Makes a cluster of servers that have just been started, each of them a master. */
export async function createRedisCluster(ports: readonly number[]): Promise<void> {
  const nodes = await Promise.all(
    ports.map((port) =>
      createClient({ url: `redis://127.0.0.1:${port}` })
        .on("error", () => {})
        .connect(),
    ),
  );
  const addresses = ports.map((port) => `127.0.0.1:${port}`);
  await promisify(execFile)("redis-cli", ["--cluster", "create", ...addresses, "--cluster-yes"]);
  for (const node of nodes) {
    while (!String(await node.sendCommand(["CLUSTER", "INFO"])).includes("cluster_state:ok")) await sleep(100);
    node.destroy();
  }
}
