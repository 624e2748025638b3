import { historyOption } from "../broker/checks.js";
import type { HistoryOptions } from "../broker/broker.js";
import { option, readOptions } from "../checks.js";
import type { Redis } from "./client.js";
import type { BrokerSettings } from "./broker-settings.js";
import { type RedisClient, redisOf } from "./client-kinds.js";

/** How a `redisBroker` is made. */
export interface RedisBrokerOptions {
  /**
   * The application's client: node-redis 6 (`createClient`, `createClientPool`, `createCluster`, `createSentinel`,
   * connected) or ioredis 5 and later (`Redis`, `Cluster`, without a `keyPrefix`). The broker makes at most two connections
   * like it, on a cluster for each master, and never closes it.
   */
  readonly client: RedisClient;
  /**
   * What the keys begin with; the rest is the channel's name. Messages are published to the same names.
   *
   * @default "express-event-source:"
   */
  readonly prefix?: string | undefined;
  /**
   * How much of each channel is kept. Redis trims a little late, so that it may be some events more. Give all
   * processes the same.
   */
  readonly history?: HistoryOptions | undefined;
  /**
   * Milliseconds after which `publish`, `end` and `subscribe` reject where Redis does not answer.
   *
   * @default 5000
   */
  readonly timeout?: number | undefined;
  /**
   * Whether messages stay on the shard of their channel (`SPUBLISH`, Redis 7): for a cluster whose nodes would have too
   * much to tell each other. Give all processes the same.
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
 * How much longer than its newest event the key of a channel lives at most, in milliseconds: time enough to know that nothing
 * was missed before a new stream is found in its place.
 */
const longestMargin = 60_000;

/** @throws {EventStreamError} `ERR_INVALID_OPTION` */
export function checkOptions(options: RedisBrokerOptions): [Redis, BrokerSettings] {
  const { client, prefix, history, timeout, sharded } = readOptions("redisBroker", options ?? {}, table);
  const timeToLive = history.maxAge + Math.min(history.maxAge, longestMargin);
  return [redisOf(client), { history, timeToLive, timeout, prefix, ring: sharded ? "SPUBLISH" : "PUBLISH" }];
}
