import { EventStreamError, show } from "../errors.js";
import type { Redis } from "./client.js";
import { type IoRedis, ioRedis, isIoRedis, keyPrefixOf } from "./ioredis.js";
import { isNodeRedis, isOutdated, type NodeRedis, nodeRedis } from "./node-redis.js";

/**
 * A client of node-redis 6 (the package `redis`), made by `createClient`, `createClientPool`, `createCluster` or
 * `createSentinel`, or a `Redis` (with or without Sentinel) or `Cluster` of ioredis 5 or later.
 */
export type RedisClient = NodeRedis | IoRedis;

/**
 * Adapts the application's client.
 *
 * @throws {EventStreamError} `ERR_INVALID_OPTION`
 */
export function redisOf(client: unknown): Redis {
  if (typeof client === "object" && client !== null) {
    if (isNodeRedis(client)) return checkedNodeRedis(client);
    if (isIoRedis(client)) return checkedIoRedis(client);
  }
  throw invalid(
    client,
    'a client of node-redis or ioredis: import { createClient } from "redis", then ' +
      "redisBroker({ client: await createClient({ url }).connect() })",
  );
}

function checkedNodeRedis(client: NodeRedis): Redis {
  if (isOutdated(client)) {
    throw invalid(
      client,
      "of node-redis 6 or later: after a lost connection, earlier versions answer one command with the reply to " +
        "another, so that a subscriber gets another's events. Run npm install redis@6, then connect() as before",
    );
  }
  if (!client.isOpen) throw invalid(client, "connected: await client.connect() first");
  return nodeRedis(client);
}

function checkedIoRedis(client: IoRedis): Redis {
  const keyPrefix = keyPrefixOf(client);
  if (keyPrefix !== undefined && keyPrefix !== "") {
    throw invalid(
      client,
      `without a keyPrefix (it is ${show(keyPrefix)}), which does not apply to pub/sub; ` +
        "give the broker a prefix instead, and a client made with new Redis(url)",
    );
  }
  if (client.status === "end") throw invalid(client, "connected: it has been closed; call connect() first");
  return ioRedis(client);
}

function invalid(client: unknown, must: string): EventStreamError {
  return new EventStreamError("ERR_INVALID_OPTION", `The option client is ${show(client)}; it must be ${must}.`, {
    field: "client",
  });
}
