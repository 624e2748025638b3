import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import { EventSource } from "eventsource";
import type { Broker } from "express-event-source";
import { redisBroker } from "express-event-source/redis";
import { createClient } from "redis";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { describeWithRedis } from "./redis-server.js";
import { TcpProxy } from "./tcp-proxy.js";

/** One server process of the application. */
class App {
  port = 0;
  #process: ChildProcess | undefined;

  async start(url: string): Promise<this> {
    const child = spawn(process.execPath, ["--import", "tsx", fileURLToPath(new URL("app.ts", import.meta.url))], {
      env: { ...process.env, REDIS_URL: url },
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#process = child;
    this.port = await new Promise<number>((resolve, reject) => {
      child.stdout.once("data", (line) => resolve(Number(line)));
      child.once("exit", (code) => reject(new Error(`The application ended with ${code}.`)));
    });
    return this;
  }

  kill(): void {
    this.#process?.kill("SIGKILL");
  }
}

/** An EventSource, which comes back by itself, and all that it ever saw. */
class Client {
  readonly seen: unknown[] = [];
  opened = 0;
  readonly #source: EventSource;
  #look: (() => void) | undefined;

  constructor(url: string) {
    this.#source = new EventSource(url);
    const see = (what: unknown) => {
      this.seen.push(what);
      this.#look?.();
    };
    this.#source.addEventListener("open", () => {
      this.opened++;
      this.#look?.();
    });
    this.#source.addEventListener("message", ({ data }) => see(JSON.parse(data as string)));
    this.#source.addEventListener("gap", () => see("gap"));
  }

  async until(isThere: () => boolean): Promise<void> {
    while (!isThere()) await new Promise<void>((resolve) => (this.#look = resolve));
  }

  close(): void {
    this.#source.close();
  }
}

const timeout = 300;

describeWithRedis(
  "with processes and connections that fail",
  (redis) => {
    const network = new TcpProxy(() => [redis.port]);
    const apps = [new App(), new App()];
    const address = new TcpProxy(() => apps.map(({ port }) => port));
    const redisClient = () => createClient({ url: `redis://127.0.0.1:${network.port}` }).on("error", () => {});
    let publisher: ReturnType<typeof redisClient>;
    let broker: Broker;
    let clients: Client[] = [];
    let channel = "";
    let number = 0;
    let stored: number[] = [];
    let rejected: number[] = [];

    beforeAll(async () => {
      await network.listen();
      await address.listen();
      publisher = redisClient();
      await publisher.connect();
      broker = redisBroker({ client: publisher, history: { maxEvents: 10_000 }, timeout });
      await Promise.all(apps.map((app) => app.start(`redis://127.0.0.1:${network.port}`)));
    });
    afterAll(async () => {
      for (const app of apps) app.kill();
      await broker.close();
      publisher.destroy();
      address.close();
      network.close();
    });

    beforeEach(async ({ task }) => {
      channel = encodeURIComponent(task.name);
      [number, stored, rejected] = [0, [], []];
      clients = Array.from({ length: 6 }, () => new Client(`http://127.0.0.1:${address.port}/${channel}`));
      await publish(20);
      await Promise.all(clients.map((client) => client.until(() => client.seen.length >= 10)));
    });
    afterEach(() => {
      for (const client of clients) client.close();
    });

    /** Publishes numbers one after the other; one that is rejected is not tried again. */
    async function publish(count: number, through = broker): Promise<void> {
      for (let n = 0; n < count; n++) {
        const event = number++;
        await through.publish(decodeURIComponent(channel), { data: event }).then(
          () => stored.push(event),
          (error: unknown) => {
            expect(error).toMatchObject({ code: "ERR_BROKER_UNAVAILABLE" });
            rejected.push(event);
          },
        );
        await sleep(2);
      }
    }

    /** Publishes while Redis is away, and until it is back. */
    async function publishUntilBack(): Promise<void> {
      for (const before = stored.length; stored.length === before;) await publish(1);
      await publish(50);
    }

    /** Everyone has everything that was said to be stored, in order, nothing twice, without a gap. */
    async function expectEverything(): Promise<void> {
      const last = stored.at(-1);
      await Promise.all(clients.map((client) => client.until(() => client.seen.includes(last))));
      const maybe = new Set(rejected);
      for (const { seen } of clients) {
        expect(seen.filter((event) => !maybe.has(event as number))).toEqual(stored);
        expect(seen).toEqual([...new Set(seen as number[])].sort((a, b) => a - b));
      }
    }

    it("loses nothing while Redis is killed and started again with its append-only file", async () => {
      await redis.kill();
      await publish(2);
      expect(rejected).toHaveLength(2);
      await redis.start();
      await publishUntilBack();
      await expectEverything();
    });

    it("loses nothing while Redis stands still", async () => {
      redis.pause();
      await publish(4);
      expect(rejected).toHaveLength(4);
      redis.continue();
      await publishUntilBack();
      await expectEverything();
    });

    it("loses nothing while the network to Redis is cut, and does not hammer at it", async () => {
      const before = network.connections;
      network.cut();
      await publish(4);
      expect(rejected.length).toBeGreaterThan(0);
      // Three processes, each with two connections that come back with growing pauses.
      expect(network.connections - before).toBeLessThan(100);
      network.mend();
      await publishUntilBack();
      await expectEverything();
    });

    it("loses nothing where one of two processes is killed", async () => {
      // Redis is there all the time, however slow the disk: nothing may be rejected.
      const patient = redisBroker({ client: publisher, history: { maxEvents: 10_000 } });
      const publishing = publish(100, patient);
      await clients[0]?.until(() => (clients[0] as Client).seen.length > 50);
      apps[0]?.kill();
      await publishing;
      await expectEverything();
      expect(rejected).toEqual([]);
      expect(clients.some(({ opened }) => opened > 1)).toBe(true);
      await patient.close();
    });
  },
  ["--appendonly", "yes", "--appendfsync", "always"],
);
