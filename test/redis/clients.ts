import { Redis as Redis6 } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { createClient, createClientPool } from "redis";
import type { RedisBrokerOptions } from "express-event-source/redis";

export interface TestClient {
  readonly client: RedisBrokerOptions["client"];
  close(): unknown;
}

/** Every kind of client for one server. */
export const clients: Record<string, (url: string) => Promise<TestClient>> = {
  "node-redis": async (url) => {
    const client = createClient({ url }).on("error", () => {});
    await client.connect();
    return { client, close: () => client.destroy() };
  },
  "node-redis with RESP 2": async (url) => {
    const client = createClient({ url, RESP: 2 }).on("error", () => {});
    await client.connect();
    return { client, close: () => client.destroy() };
  },
  "node-redis's pool": async (url) => {
    const client = createClientPool({ url }).on("error", () => {});
    await client.connect();
    return { client, close: () => client.destroy() };
  },
  "ioredis 6": async (url) => {
    const client = new Redis6(url).on("error", () => {});
    return { client, close: () => client.disconnect() };
  },
  "ioredis 5": async (url) => {
    const client = new Redis5(url).on("error", () => {});
    return { client, close: () => client.disconnect() };
  },
};
