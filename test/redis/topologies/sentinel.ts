import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis as Redis6 } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { createSentinel } from "redis";
import type { TestClient } from "../clients.js";
import { freePort, launch, onFreePort, RedisServer } from "../redis-server.js";
import { ask, until } from "./cluster.js";

/** A master with two replicas, and three Sentinels that watch them. */
export class SentinelGroup {
  readonly name = "broker";
  readonly master: RedisServer = new RedisServer(["--repl-diskless-sync-delay", "0"]);
  replicas: RedisServer[] = [];
  readonly sentinels: number[] = [];
  readonly #processes: ChildProcess[] = [];
  readonly #directory = mkdtempSync(join(tmpdir(), "sentinel-test-"));

  async start(): Promise<void> {
    await this.master.start();
    const replicaOf = ["--replicaof", `127.0.0.1 ${this.master.port}`, "--repl-diskless-sync-delay", "0"];
    this.replicas = [new RedisServer(replicaOf), new RedisServer(replicaOf)];
    await Promise.all(this.replicas.map((replica) => replica.start()));
    await until(async () => String(await ask(this.master, ["INFO", "replication"])).includes("connected_slaves:2"));
    for (let n = 0; n < 3; n++) {
      await onFreePort(freePort, async (port) => {
        const file = join(this.#directory, `${port}.conf`);
        writeFileSync(
          file,
          [
            `port ${port}`,
            "bind 127.0.0.1",
            `dir ${this.#directory}`,
            `sentinel monitor ${this.name} 127.0.0.1 ${this.master.port} 2`,
            `sentinel down-after-milliseconds ${this.name} 1000`,
            `sentinel failover-timeout ${this.name} 6000`,
            "",
          ].join("\n"),
        );
        this.#processes.push(await launch("redis-sentinel", [file], port));
        this.sentinels.push(port);
      });
    }
    const knows = async (port: number): Promise<boolean> => {
      const reply = await ask({ url: `redis://127.0.0.1:${port}` }, ["SENTINEL", "CKQUORUM", this.name]);
      const replicas = await ask({ url: `redis://127.0.0.1:${port}` }, ["SENTINEL", "REPLICAS", this.name]);
      return String(reply).startsWith("OK 3") && (replicas as unknown[]).length === 2;
    };
    await Promise.all(this.sentinels.map((port) => until(() => knows(port))));
  }

  async remove(): Promise<void> {
    for (const child of this.#processes) child.kill("SIGKILL");
    await Promise.all([this.master, ...this.replicas].map((server) => server.remove()));
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

export const sentinelClients: Record<string, (group: SentinelGroup) => Promise<TestClient>> = {
  "node-redis's sentinel": async ({ name, sentinels }) => {
    const sentinelRootNodes = sentinels.map((port) => ({ host: "127.0.0.1", port }));
    const client = createSentinel({ name, sentinelRootNodes }).on("error", () => {});
    await client.connect();
    return { client, close: () => client.destroy() };
  },
  "ioredis 6 through Sentinel": async ({ name, sentinels }) => {
    const client = new Redis6({ name, sentinels: sentinels.map((port) => ({ host: "127.0.0.1", port })) });
    return { client: client.on("error", () => {}), close: () => client.disconnect() };
  },
  "ioredis 5 through Sentinel": async ({ name, sentinels }) => {
    const client = new Redis5({ name, sentinels: sentinels.map((port) => ({ host: "127.0.0.1", port })) });
    return { client: client.on("error", () => {}), close: () => client.disconnect() };
  },
};
