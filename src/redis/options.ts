import { historyOption } from "../broker/checks.js";
import type { HistoryOptions } from "../broker/broker.js";
import { option, readOptions } from "../checks.js";
import type { Redis } from "./client.js";
import type { BrokerSettings } from "./broker-settings.js";
import { type RedisClient, redisOf } from "./client-kinds.js";

/** The options of `redisBroker`. */
export interface RedisBrokerOptions {
  /**
   * The application's client: a connected client of node-redis 6 (`createClient`, `createClientPool`, `createCluster`,
   * `createSentinel`), or one of ioredis 5 or later without a `keyPrefix` (`Redis`, `Cluster`). Using the client's
   * settings, the broker opens at most two more connections or, on a cluster, two for each master. It never closes the
   * client.
   */
  readonly client: RedisClient;
  /**
   * The beginning of each key; the rest is the channel's name. Each key is also the name of the Redis channel on which
   * messages are published.
   *
   * @default "express-event-source:"
   */
  readonly prefix?: string | undefined;
  /**
   * How much of each channel is kept. Redis trims a little late, so there may be a few more events. Use the same value
   * in all processes.
   */
  readonly history?: HistoryOptions | undefined;
  /**
   * How many milliseconds `publish`, `end` and `subscribe` wait for Redis before they reject with
   * `ERR_BROKER_UNAVAILABLE`: a whole number from 1 to 2147483647.
   *
   * @default 5000
   */
  readonly timeout?: number | undefined;
  /**
   * Whether messages stay on the shard of their channel (`SPUBLISH`, Redis 7). This helps a cluster with so many
   * messages that passing each one to every node costs too much. Use the same value in all processes.
   *
   * @default false
   */
  readonly sharded?: boolean | undefined;
}

const table = {
  client: { default: undefined, read: (client: unknown) => client },
  prefix: option(
    "express-event-source:",
    (value) => typeof value === "string" && !/\p{Surrogate}/u.test(value),
    'a string, such as "events:"',
  ),
  history: historyOption,
  timeout: option(
    5000,
    (value) => Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) < 2 ** 31,
    "a whole number of milliseconds from 1 to 2147483647",
  ),
  sharded: option<boolean>(false, (value) => typeof value === "boolean", "true or false"),
};

/**
 * The longest time for which a channel's key outlives its newest event, in milliseconds. In this time, every process
 * learns that it has missed nothing, before the key expires.
 */
const longestMargin = 60_000;

/** @throws {EventStreamError} `ERR_INVALID_OPTION` */
export function checkOptions(options: RedisBrokerOptions): [Redis, BrokerSettings] {
  const { client, prefix, history, timeout, sharded } = readOptions("redisBroker", options ?? {}, table);
  const timeToLive = history.maxAge + Math.min(history.maxAge, longestMargin);
  return [redisOf(client), { history, timeToLive, timeout, prefix, ring: sharded ? "SPUBLISH" : "PUBLISH" }];
}
