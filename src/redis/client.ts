/**
 * The application's client, as the broker uses it. Each library is one file that makes this of it; the types of clients
 * are structural, so that none of the packages is needed.
 */
export interface Redis {
  /** Whether the keys are spread over several masters. */
  readonly isCluster: boolean;
  /** The database's number: pub/sub knows none. */
  database(): Promise<number>;
  /**
   * Sends a command through the application's client, to the master that has `key`. A command that has not been sent after
   * `timeout` milliseconds is dropped, where the library can do that.
   */
  send(key: string, args: readonly string[], timeout: number): Promise<unknown>;
  /** The master that has this slot, as far as the client knows; without a cluster the only one. */
  masterOf(slot: number): Master | undefined;
}

export interface Master {
  /** What tells it from others. */
  readonly address: string;
  /** A connection of the broker's own, made like the application's. */
  open(events: ConnectionEvents): Promise<Connection>;
}

export interface ConnectionEvents {
  readonly onMessage: (channel: string, message: string) => void;
  /** It has failed. May be called more than once, and after `destroy`. */
  readonly onClose: () => void;
}

/** A connection that lives once: it never comes back by itself, so that nobody misses that it was away. */
export interface Connection {
  send(args: readonly string[]): Promise<unknown>;
  subscribe(isSharded: boolean, channels: readonly string[]): Promise<unknown>;
  unsubscribe(isSharded: boolean, channels: readonly string[]): Promise<unknown>;
  destroy(): void;
}
