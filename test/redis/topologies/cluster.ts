import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { Cluster as Cluster6 } from "ioredis";
import { Cluster as Cluster5 } from "ioredis5";
import { createClient, createCluster } from "redis";
import { RedisServer } from "../redis-server.js";
import type { TestClient } from "../clients.js";

const run = promisify(execFile);

/** Six nodes: three masters, each with a replica. */
export class RedisCluster {
  readonly nodes: readonly RedisServer[] = Array.from(
    { length: 6 },
    () =>
      new RedisServer([
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        "2000",
        "--repl-diskless-sync-delay",
        "0",
      ]),
  );

  async start(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.start()));
    const addresses = this.nodes.map(({ port }) => `127.0.0.1:${port}`);
    await run("redis-cli", ["--cluster", "create", ...addresses, "--cluster-replicas", "1", "--cluster-yes"]);
    await Promise.all(this.nodes.map((node) => until(() => isReady(node))));
  }

  /** The node that is the master of a key. */
  async masterOf(key: string): Promise<RedisServer> {
    for (const node of this.nodes) {
      const reply = await ask(node, ["EXISTS", key]).catch((error: Error) => error.message);
      if (typeof reply === "number") return node;
    }
    throw new Error(`No node has ${key}.`);
  }

  async remove(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.remove()));
  }
}

export async function until(isThere: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await isThere().catch(() => false)); tries++) {
    if (tries > 600) throw new Error("It never came to that.");
    await sleep(50);
  }
}

/** Asks one server, whoever it is. */
export async function ask({ url }: { url: string }, args: readonly string[]): Promise<unknown> {
  const client = createClient({ url, socket: { reconnectStrategy: false } }).on("error", () => {});
  await client.connect();
  try {
    return await client.sendCommand([...args]);
  } finally {
    client.destroy();
  }
}

/** Whether the node knows the whole cluster and, where it is a replica, has its master's data: without, it takes over from nobody. */
async function isReady(node: RedisServer): Promise<boolean> {
  const info = String(await ask(node, ["CLUSTER", "INFO"]));
  const nodes = String(await ask(node, ["CLUSTER", "NODES"]));
  const replication = String(await ask(node, ["INFO", "replication"]));
  const hasData = replication.includes("role:master") || replication.includes("master_link_status:up");
  return info.includes("cluster_state:ok") && (nodes.match(/slave /g) ?? []).length === 3 && hasData;
}

export const clusterClients: Record<string, (cluster: RedisCluster) => Promise<TestClient>> = {
  "node-redis's cluster": async ({ nodes }) => {
    const client = createCluster({ rootNodes: nodes.map(({ url }) => ({ url })) }).on("error", () => {});
    await client.connect();
    return { client, close: () => client.destroy() };
  },
  "ioredis 6's Cluster": async ({ nodes }) => {
    const client = new Cluster6(nodes.map(({ port }) => ({ host: "127.0.0.1", port }))).on("error", () => {});
    return { client, close: () => client.disconnect() };
  },
  "ioredis 5's Cluster": async ({ nodes }) => {
    const client = new Cluster5(nodes.map(({ port }) => ({ host: "127.0.0.1", port }))).on("error", () => {});
    return { client, close: () => client.disconnect() };
  },
};
