import { ask, type RedisClient, within } from "./client.js";

/** What `duplicate` makes of a client. */
interface Duplicate extends RedisClient {
  connect(): Promise<unknown>;
  destroy(): void;
  on(event: "error", listener: (error: Error) => void): unknown;
}

/**
 * A connection of the broker's own, like the application's. It lives once: it never comes back by itself, so that
 * its id, with which a read that waits is interrupted, stays the same.
 */
export class Connection {
  readonly id: string;
  readonly #redis: Duplicate;

  private constructor(redis: Duplicate, id: string) {
    this.#redis = redis;
    this.id = id;
  }

  static async open(client: RedisClient, timeout: number): Promise<Connection> {
    const { socket } = (client.options ?? {}) as { socket?: object };
    const redis = client.duplicate({
      socket: { ...socket, reconnectStrategy: false, socketTimeout: undefined },
      commandsQueueMaxLength: undefined,
      clientSideCache: undefined,
    }) as Duplicate;
    // Whoever waits for a reply hears of it.
    redis.on("error", () => {});
    try {
      await within(timeout, redis.connect());
      return new Connection(redis, String(await ask(redis, timeout, ["CLIENT", "ID"])));
    } catch (error) {
      destroy(redis);
      throw error;
    }
  }

  get isOpen(): boolean {
    return this.#redis.isOpen;
  }

  ask(timeout: number, args: readonly string[]): Promise<unknown> {
    return ask(this.#redis, timeout, args);
  }

  destroy(): void {
    destroy(this.#redis);
  }
}

function destroy(redis: Duplicate): void {
  try {
    redis.destroy();
  } catch {
    // node-redis 5 throws where the connection has already been closed.
  }
}
