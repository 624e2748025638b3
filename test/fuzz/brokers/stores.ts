import { setTimeout as sleep } from "node:timers/promises";
import type { Broker, HistoryOptions } from "express-event-source";
import { postgresBroker } from "express-event-source/postgres";
import { redisBroker } from "express-event-source/redis";
import { Pool } from "pg";
import { createClient } from "redis";
import { PostgresServer } from "../../postgres/postgres-server.js";
import { RedisServer } from "../../redis/redis-server.js";
import { TcpProxy } from "../../redis/tcp-proxy.js";
import type { Fuzzed } from "../fuzz.js";
import { checkBroker, type Subject } from "./check.js";
import { type BrokerProgram, brokerProgram } from "./program.js";

/** A server that can be killed, and comes back with the data that it has stored. */
interface Server {
  readonly port: number;
  start(): Promise<void>;
  kill(): Promise<void>;
  remove(): Promise<void>;
}

/** One server for all programs, behind a proxy. Whatever is done to the server affects all of them. */
class Store {
  readonly proxy: TcpProxy;
  readonly #server: Server;
  #kill: Promise<void> = Promise.resolve();

  constructor(server: Server) {
    this.#server = server;
    this.proxy = new TcpProxy(() => [server.port]);
  }

  async start(): Promise<this> {
    await this.#server.start();
    await this.proxy.listen();
    return this;
  }

  async cut(): Promise<void> {
    this.proxy.cut();
    await sleep(5);
    this.proxy.mend();
  }

  /**
   * Kills and restarts the server. Several calls are carried out one after the other, because there is only one server.
   */
  kill(): Promise<void> {
    return (this.#kill = this.#kill.then(async () => {
      await this.#server.kill();
      // The server's child processes end a little later, and hold its files until then.
      for (let tries = 0; ; tries++) {
        try {
          return await this.#server.start();
        } catch (error) {
          if (tries === 50) throw error;
          await sleep(100);
        }
      }
    }));
  }

  async stop(): Promise<void> {
    this.proxy.close();
    await this.#kill;
    await this.#server.remove();
  }
}

/** Programs for a broker on a store that fails now and then. */
function onStore(
  name: string,
  server: Server,
  connect: (
    port: number,
  ) => Promise<{ open: (name: string, history: HistoryOptions) => Promise<Broker>; close: () => Promise<unknown> }>,
): Fuzzed<BrokerProgram> {
  const store = new Store(server);
  let connection: Awaited<ReturnType<typeof connect>>;
  let brokers = 0;
  const subject: Subject = {
    open: (history) => connection.open(`fuzz-${brokers++}`, history),
    now: () => performance.now(),
    pass: (milliseconds) => sleep(milliseconds),
    faults: { cut: () => store.cut(), kill: () => store.kill() },
    // A store trims only when that is cheap.
    surplus: Infinity,
    patience: 20_000,
  };
  return {
    name,
    program: brokerProgram(
      { publish: 12, read: 12, connect: 10, leave: 4, end: 2, turn: 6, cut: 2, kill: 1 },
      { length: 40, maxAge: undefined },
    ),
    check: (program) => checkBroker(subject, program),
    abreast: 6,
    start: async () => {
      await store.start();
      connection = await connect(store.proxy.port);
    },
    stop: async () => {
      await connection.close();
      await store.stop();
    },
  };
}

export const redis: Fuzzed<BrokerProgram> = onStore(
  "redis",
  // Without these, a kill would lose the events of the last second, and no subscriber could be told.
  new RedisServer(["--appendonly", "yes", "--appendfsync", "always"]),
  async (port) => {
    const client = createClient({ url: `redis://127.0.0.1:${port}` }).on("error", () => {});
    await client.connect();
    return {
      open: async (prefix, history) => redisBroker({ client, prefix: `${prefix}:`, history, timeout: 3_000 }),
      close: async () => client.destroy(),
    };
  },
);

const postgresServer = new PostgresServer(["fsync=off"]);

export const postgres: Fuzzed<BrokerProgram> = onStore("postgres", postgresServer, async (port) => {
  const pool = new Pool({ ...postgresServer.config, port }).on("error", () => {});
  return {
    open: async (schema, history) => {
      const broker = postgresBroker({ pool, schema, history, timeout: 3_000, pollInterval: 500 });
      for (;;) {
        try {
          await broker.migrate();
          return broker;
        } catch {
          // Another program has just killed the server.
          await sleep(50);
        }
      }
    },
    close: () => pool.end(),
  };
});
