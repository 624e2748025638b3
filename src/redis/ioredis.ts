import type { Connection, ConnectionEvents, Master, Redis } from "./client.js";

/** A `Redis` of ioredis, with or without Sentinel. */
export interface IoRedisClient {
  readonly options: object;
  readonly status: string;
  readonly isCluster: boolean;
  call(command: string, ...args: string[]): Promise<unknown>;
  duplicate(override?: never): unknown;
}

/** A `Cluster` of ioredis. */
export interface IoRedisCluster {
  readonly options: object;
  readonly status: string;
  readonly isCluster: boolean;
  readonly slots: readonly (readonly string[])[];
  call(command: string, ...args: string[]): Promise<unknown>;
  nodes(role: "master"): readonly unknown[];
  refreshSlotsCache(): void;
}

export type IoRedis = IoRedisClient | IoRedisCluster;

/** What `duplicate` returns. */
interface Duplicate {
  connect(): Promise<unknown>;
  disconnect(): void;
  call(command: string, ...args: readonly string[]): Promise<unknown>;
  subscribe(...channels: readonly string[]): Promise<unknown>;
  unsubscribe(...channels: readonly string[]): Promise<unknown>;
  ssubscribe(...channels: readonly string[]): Promise<unknown>;
  sunsubscribe(...channels: readonly string[]): Promise<unknown>;
  on(event: "error" | "close" | "end", listener: () => void): unknown;
  on(event: "message" | "smessage", listener: (channel: string, message: string) => void): unknown;
}

interface Node {
  readonly options: { readonly host?: string; readonly port?: number };
  duplicate(override: object): unknown;
}

export function isIoRedis(client: object): client is IoRedis {
  return "status" in client && "isCluster" in client && "call" in client && "options" in client;
}

export function keyPrefixOf({ options }: IoRedis): unknown {
  return (options as { keyPrefix?: unknown }).keyPrefix;
}

export function ioRedis(client: IoRedis): Redis {
  const send: Redis["send"] = (_key, [command, ...args]) => client.call(command as string, ...args);
  if (!("nodes" in client)) {
    return {
      isCluster: false,
      isClosed: () => client.status === "end",
      database: async () => (client.options as { db?: number }).db ?? 0,
      send,
      masterOf: () => ({ address: "", open: (...how) => open(client as unknown as Node, ...how) }),
    };
  }
  return {
    isCluster: true,
    isClosed: () => client.status === "end",
    database: async () => 0,
    send,
    masterOf(slot) {
      const address = client.slots[slot]?.[0];
      if (address === undefined) return undefined;
      const nodes = client.nodes("master") as readonly Node[];
      const node = nodes.find(({ options: { host, port } }) => `${host}:${port}` === address);
      // The client learns of a failover only when one of its commands fails; a process that only subscribes sends none.
      if (node === undefined) return void client.refreshSlotsCache();
      const openNode: Master["open"] = async (events, signal) => {
        try {
          return await open(node, events, signal);
        } catch (error) {
          client.refreshSlotsCache();
          throw error;
        }
      };
      return { address, open: openNode };
    },
  };
}

async function open(node: Node, { onMessage, onClose }: ConnectionEvents, signal: AbortSignal): Promise<Connection> {
  const redis = node.duplicate({
    retryStrategy: null,
    sentinelRetryStrategy: null,
    reconnectOnError: null,
    autoResubscribe: false,
    autoResendUnfulfilledCommands: false,
    lazyConnect: true,
    enableOfflineQueue: true,
    enableAutoPipelining: false,
    maxRetriesPerRequest: null,
    commandTimeout: undefined,
    socketTimeout: undefined,
    readOnly: false,
  }) as Duplicate;
  redis.on("error", onClose);
  redis.on("close", onClose);
  redis.on("end", onClose);
  redis.on("message", onMessage);
  redis.on("smessage", onMessage);
  signal.addEventListener("abort", () => redis.disconnect());
  try {
    await redis.connect();
  } catch (error) {
    redis.disconnect();
    throw error;
  }
  return {
    send: ([command, ...args]) => redis.call(command as string, ...args),
    subscribe: (isSharded, channels) => (isSharded ? redis.ssubscribe(...channels) : redis.subscribe(...channels)),
    unsubscribe: (isSharded, channels) =>
      isSharded ? redis.sunsubscribe(...channels) : redis.unsubscribe(...channels),
    destroy: () => redis.disconnect(),
  };
}
