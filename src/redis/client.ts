import { EventStreamError, show } from "../errors.js";

/**
 * What the broker needs of a client of node-redis (the package `redis`, 5 or 6), as its `createClient`
 * makes it. Structural, so that these types need no `redis`.
 */
export interface RedisClient {
  readonly isOpen: boolean;
  readonly options?: object | undefined;
  sendCommand(args: readonly string[], options?: { abortSignal?: AbortSignal; typeMapping?: object }): Promise<unknown>;
  duplicate(overrides?: object): unknown;
}

/** @throws {EventStreamError} `ERR_INVALID_OPTION` */
export function checkClient(client: unknown): asserts client is RedisClient {
  const { isOpen, options, sendCommand, duplicate } = (
    typeof client === "object" && client !== null ? client : {}
  ) as Partial<RedisClient>;
  // Its cluster, pool and sentinel have no options, and another sendCommand.
  if (
    typeof isOpen !== "boolean" ||
    typeof options !== "object" ||
    typeof sendCommand !== "function" ||
    typeof duplicate !== "function"
  ) {
    throw invalidClient(
      client,
      'a client of node-redis: import { createClient } from "redis", then redisBroker({ client: await createClient({ url }).connect() }); a cluster, a pool, a sentinel or ioredis will not do',
    );
  }
  if (!isOpen) throw invalidClient(client, "connected: await client.connect() first");
}

function invalidClient(client: unknown, must: string): EventStreamError {
  return new EventStreamError("ERR_INVALID_OPTION", `The option client is ${show(client)}; it must be ${must}.`, {
    field: "client",
  });
}

/**
 * In place of the application's own, so that a string is a string. The map of RESP 3 (its type is `%`), the default of
 * node-redis 6, becomes a `Map`: the object that it would be otherwise cannot hold every key.
 */
const typeMapping = { ["%".charCodeAt(0)]: Map };

/**
 * Sends a command and rejects after `timeout`, whatever the client does: without a connection
 * node-redis queues for as long as it takes. A command that is still queued then is never sent; one that
 * was sent may have been carried out.
 *
 * @throws {EventStreamError} (as a rejection) `ERR_BROKER_UNAVAILABLE`, `ERR_FOREIGN_ENTRY`, `ERR_CHANNEL_ENDED`
 */
export function ask(client: RedisClient, timeout: number, args: readonly string[]): Promise<unknown> {
  const abort = new AbortController();
  return within(timeout, client.sendCommand(args, { abortSignal: abort.signal, typeMapping }), () => abort.abort());
}

/** Settles as `reply` does, or rejects after `timeout` and calls `giveUp`. */
export function within<T>(timeout: number, reply: Promise<T>, giveUp: () => void = () => {}): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(
        new EventStreamError(
          "ERR_BROKER_UNAVAILABLE",
          `Redis did not answer within ${timeout} ms; what was asked of it may have been done all the same.`,
        ),
      );
      giveUp();
    }, timeout);
    reply.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(explain(error));
      },
    );
  });
}

/** What a failure of node-redis, or an error that Redis replied, means to the application. */
function explain(cause: unknown): EventStreamError {
  const text = cause instanceof Error ? cause.message : String(cause);
  if (/^(?:ERR )?ENDED/.test(text))
    return new EventStreamError(
      "ERR_CHANNEL_ENDED",
      "The channel has been ended; publish to another, or wait until it is forgotten.",
      { cause },
    );
  if (text.includes("WRONGTYPE")) {
    return new EventStreamError(
      "ERR_FOREIGN_ENTRY",
      "The channel's key holds something that is no stream; give the broker a prefix of its own.",
      { cause },
    );
  }
  if (text.includes("CROSSSLOT")) {
    return new EventStreamError(
      "ERR_BROKER_UNAVAILABLE",
      'In a Redis Cluster, all channels of a broker must be in one slot; give it a prefix with a hash tag, such as "{events}:".',
      { cause },
    );
  }
  return new EventStreamError("ERR_BROKER_UNAVAILABLE", `Redis cannot be reached or refused the command: ${text}`, {
    cause,
  });
}

/** Whether Redis will answer the same however often it is asked. */
export function isFinal({ cause }: EventStreamError): boolean {
  return cause instanceof Error && /^(?:CROSSSLOT|NOPERM)/.test(cause.message);
}
