import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll } from "vitest";
import { describeWith } from "../support/installed.js";

/** `describe` with a redis-server of its own. */
export function describeWithRedis(
  name: string,
  suite: (redis: RedisServer) => void,
  args: readonly string[] = [],
): void {
  describeWith("redis-server", name, () => {
    const redis = new RedisServer(args);
    beforeAll(() => redis.start());
    afterAll(() => redis.remove());
    suite(redis);
  });
}

/** A real redis-server on a free port, which can be killed, started again with what it has stored, and paused. */
export class RedisServer {
  port = 0;
  readonly #args: readonly string[];
  #directory = "";
  #process: ChildProcess | undefined;

  constructor(args: readonly string[]) {
    this.#args = args;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    if (this.port !== 0) return this.#run();
    this.#directory = mkdtempSync(join(tmpdir(), "redis-test-"));
    await onFreePort(this.#args.includes("--cluster-enabled") ? clusterPort : freePort, async (port) => {
      this.port = port;
      await this.#run();
    });
  }

  async #run(): Promise<void> {
    const options = ["--bind", "127.0.0.1", "--save", "", "--dir", this.#directory, ...this.#args];
    this.#process = await launch("redis-server", ["--port", String(this.port), ...options], this.port);
  }

  /** Ends it as `kill -9` does. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exit = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await exit;
  }

  pause(): void {
    this.#process?.kill("SIGSTOP");
  }

  continue(): void {
    this.#process?.kill("SIGCONT");
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A node of a cluster listens on a second port, 10,000 above. */
async function clusterPort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if ((await isFree(port)) && (await isFree(port + 10_000))) return port;
  }
}

/** Whether nobody listens there. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer().once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** Tries another port where something else has taken the first one meanwhile. */
export async function onFreePort(choose: () => Promise<number>, start: (port: number) => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await start(await choose());
    } catch (error) {
      if (tries === 5) throw error;
    }
  }
}

/** Starts a server of Redis, and resolves when it answers. */
export async function launch(command: string, args: readonly string[], port: number): Promise<ChildProcess> {
  const child = spawn(command, args, { stdio: "ignore" });
  while (!(await answers(port, child))) {
    if (child.exitCode !== null) throw new Error(`${command} ended with ${child.exitCode}: ${args.join(" ")}`);
    await sleep(10);
  }
  return child;
}

/** Whether this very process is ready: another one may have the port. */
function answers(port: number, { pid }: ChildProcess): Promise<boolean> {
  return new Promise((resolve) => {
    let reply = "";
    const socket = connect({ port, host: "127.0.0.1" }, () => socket.end("PING\r\nINFO server\r\n"));
    socket.setEncoding("utf8").on("data", (text: string) => (reply += text));
    socket.once("error", () => resolve(false));
    socket.once("close", () => resolve(reply.startsWith("+PONG") && reply.includes(`\nprocess_id:${pid}\r\n`)));
  });
}
