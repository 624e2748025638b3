import type { Connection, ConnectionEvents, Master, Redis } from "./client.js";

interface CommandOptions {
  /** How long the command may wait to be sent, in milliseconds. 0 means no limit. */
  readonly timeout: number;
  readonly typeMapping: object;
}

type Listener = (message: string, channel: string) => void;

/** A client as `createClient` makes it. */
export interface NodeRedisClient {
  readonly isOpen: boolean;
  readonly options?: object | undefined;
  sendCommand(args: readonly string[], options?: CommandOptions): Promise<unknown>;
  duplicate(overrides?: object): unknown;
}

/** A pool as `createClientPool` makes it. */
export interface NodeRedisPool {
  readonly isOpen: boolean;
  execute(task: (client: object) => unknown): Promise<unknown>;
}

/** A cluster as `createCluster` makes it. */
export interface NodeRedisCluster {
  readonly isOpen: boolean;
  readonly slots: readonly { readonly master: { readonly address: string } }[];
  sendCommand(key: string, isReadonly: boolean, args: string[], options?: CommandOptions): Promise<unknown>;
  nodeClient(node: never): Promise<unknown>;
}

/** A Sentinel client as `createSentinel` makes it. */
export interface NodeRedisSentinel {
  readonly isOpen: boolean;
  sendCommand(isReadonly: boolean, args: string[], options?: CommandOptions): Promise<unknown>;
  getMasterNode(): unknown;
  _execute(isReadonly: boolean, task: (client: object) => Promise<unknown>): Promise<unknown>;
}

export type NodeRedis = NodeRedisClient | NodeRedisPool | NodeRedisCluster | NodeRedisSentinel;

/** What `duplicate` returns. */
interface Duplicate extends NodeRedisClient {
  connect(): Promise<unknown>;
  destroy(): void;
  on(event: "error", listener: (error: Error) => void): unknown;
  on(event: "connect", listener: () => void): unknown;
  subscribe(channels: readonly string[], listener: Listener): Promise<unknown>;
  unsubscribe(channels: readonly string[]): Promise<unknown>;
  sSubscribe(channels: readonly string[], listener: Listener): Promise<unknown>;
  sUnsubscribe(channels: readonly string[]): Promise<unknown>;
}

/** Replaces the application's own type mapping, which may turn strings into something else. */
const typeMapping = {};

const unlimited: CommandOptions = { timeout: 0, typeMapping };

export function isNodeRedis(client: object): client is NodeRedis {
  return "isOpen" in client && ("sendCommand" in client || "execute" in client);
}

/**
 * Whether the client is older than version 6. After a lost connection, older clients give one command's reply to
 * another. Clients of version 6 have a default time limit for commands. Pools leave that limit to their clients, but
 * pools of version 6 have a method that older ones lack.
 */
export function isOutdated(client: NodeRedis): boolean {
  if ("execute" in client && !("getMasterNode" in client)) return !("_commandOptionsProxy" in client);
  const { commandOptions, _commandOptions } = client as { commandOptions?: object; _commandOptions?: object };
  const defaults = _commandOptions ?? commandOptions;
  return defaults === undefined || !("timeout" in defaults);
}

export function nodeRedis(client: NodeRedis): Redis {
  if ("nodeClient" in client) return cluster(client);
  if ("getMasterNode" in client) return sentinel(client);
  return "execute" in client ? pool(client) : single(client);
}

function single(client: NodeRedisClient): Redis {
  return {
    isCluster: false,
    isClosed: () => !client.isOpen,
    database: async () => databaseOf(client),
    send: (_key, args, timeout) => client.sendCommand(args, { timeout, typeMapping }),
    masterOf: () => only((...how) => open(client, ...how)),
  };
}

function pool(client: NodeRedisPool): Redis {
  const run = <T>(task: (client: NodeRedisClient) => T) =>
    client.execute((each) => task(each as NodeRedisClient)) as Promise<T>;
  return {
    isCluster: false,
    isClosed: () => !client.isOpen,
    database: () => run(databaseOf),
    send: (_key, args, timeout) => run((each) => each.sendCommand(args, { timeout, typeMapping })),
    masterOf: () => only(async (...how) => connect(await run(duplicate), ...how)),
  };
}

function sentinel(client: NodeRedisSentinel): Redis {
  const run = <T>(task: (client: NodeRedisClient) => T) =>
    client._execute(false, async (master) => task(master as NodeRedisClient)) as Promise<T>;
  return {
    isCluster: false,
    isClosed: () => !client.isOpen,
    database: () => run(databaseOf),
    send: (_key, args, timeout) => client.sendCommand(false, [...args], { timeout, typeMapping }),
    masterOf: () => only(async (...how) => connect(await run(duplicate), ...how)),
  };
}

function cluster(client: NodeRedisCluster): Redis {
  return {
    isCluster: true,
    isClosed: () => !client.isOpen,
    database: async () => 0,
    send: (key, args, timeout) => client.sendCommand(key, false, [...args], { timeout, typeMapping }),
    masterOf(slot) {
      const master = client.slots[slot]?.master;
      return (
        master && {
          address: master.address,
          open: async (...how) => open((await client.nodeClient(master as never)) as NodeRedisClient, ...how),
        }
      );
    },
  };
}

function only(open: Master["open"]): Master {
  return { address: "", open };
}

function databaseOf({ options }: NodeRedisClient): number {
  return (options as { database?: number } | undefined)?.database ?? 0;
}

function open(client: NodeRedisClient, events: ConnectionEvents, signal: AbortSignal): Promise<Connection> {
  return connect(duplicate(client), events, signal);
}

function duplicate(client: NodeRedisClient): Duplicate {
  const { socket } = (client.options ?? {}) as { socket?: object };
  const redis = client.duplicate({
    socket: { ...socket, reconnectStrategy: false, socketTimeout: undefined },
    commandsQueueMaxLength: undefined,
    disableOfflineQueue: false,
    clientSideCache: undefined,
    pingInterval: undefined,
  }) as Duplicate;
  // Without a listener, an early failure would end the process.
  redis.on("error", () => {});
  return redis;
}

async function connect(
  redis: Duplicate,
  { onMessage, onClose }: ConnectionEvents,
  signal: AbortSignal,
): Promise<Connection> {
  redis.on("error", onClose);
  const listener: Listener = (message, channel) => onMessage(channel, message);
  // A client that is destroyed before it has its socket opens the socket all the same, and keeps it.
  let hasSocket = false;
  redis.on("connect", () => {
    hasSocket = true;
    if (signal.aborted) destroy(redis);
  });
  signal.addEventListener("abort", () => hasSocket && destroy(redis));
  try {
    signal.throwIfAborted();
    await redis.connect();
  } catch (error) {
    destroy(redis);
    throw error;
  }
  return {
    send: (args) => redis.sendCommand(args, unlimited),
    subscribe: (isSharded, channels) =>
      isSharded ? redis.sSubscribe(channels, listener) : redis.subscribe(channels, listener),
    unsubscribe: (isSharded, channels) => (isSharded ? redis.sUnsubscribe(channels) : redis.unsubscribe(channels)),
    destroy: () => destroy(redis),
  };
}

function destroy(redis: Duplicate): void {
  try {
    redis.destroy();
  } catch {
    // It was closed already.
  }
}
