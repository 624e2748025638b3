import type { HistoryOptions } from "express-event-source";
import { redisBroker, type RedisBrokerOptions } from "express-event-source/redis";
import { createClient } from "redis";
import { afterAll, beforeAll, onTestFinished } from "vitest";
import type { RedisServer } from "./redis-server.js";

export type Client = ReturnType<typeof createClient>;

export async function connect(url: string, options?: Parameters<typeof createClient>[0]): Promise<Client> {
  const client: Client = createClient({ url, ...options });
  return client.on("error", () => {}).connect();
}

interface Options {
  readonly prefix?: string;
  readonly client?: RedisBrokerOptions["client"];
  readonly timeout?: number;
  readonly history?: HistoryOptions;
  readonly sharded?: boolean;
}

/** A client for the suite, and brokers that each have a prefix of their own. */
export function connected(redis: RedisServer) {
  let client: Client;
  beforeAll(async () => {
    client = await connect(redis.url);
  });
  afterAll(() => client.destroy());
  let brokers = 0;
  return (options?: Options) => {
    const prefix = `${brokers++}:`;
    const broker = redisBroker({ client, prefix, ...options });
    onTestFinished(() => broker.close());
    return { broker, prefix, client };
  };
}

/** Has whoever listens look at the stream, as a message that is none of ours does. */
export function ring(client: Client, key: string): Promise<number> {
  return client.publish(key, "look");
}

/** How often Redis has carried out a command. */
export async function calls(client: Client, command: string): Promise<number> {
  const line = new RegExp(`^cmdstat_${command}:calls=(\\d+)`, "m").exec(await client.info("commandstats"));
  return line === null ? 0 : Number(line[1]);
}
