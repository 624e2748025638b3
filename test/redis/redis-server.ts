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
    if (this.port === 0) {
      this.port = await (this.#args.includes("--cluster-enabled") ? clusterPort() : freePort());
      this.#directory = mkdtempSync(join(tmpdir(), "redis-test-"));
    }
    const options = [
      "--port",
      String(this.port),
      "--bind",
      "127.0.0.1",
      "--save",
      "",
      "--dir",
      this.#directory,
      ...this.#args,
    ];
    const child = spawn("redis-server", options, { stdio: "ignore" });
    this.#process = child;
    while (!(await accepts(this.port))) {
      if (child.exitCode !== null)
        throw new Error(`redis-server ended with ${child.exitCode}: redis-server ${options.join(" ")}`);
      await sleep(10);
    }
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

/** Whether Redis answers there: it accepts connections a little before it is ready. */
function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" }, () => socket.write("PING\r\n"));
    socket.once("data", (reply) => {
      socket.destroy();
      resolve(reply.toString().startsWith("+PONG"));
    });
    socket.once("error", () => resolve(false));
  });
}
