/**
 * The application's client, as the broker uses it. For each library, one file adapts its clients to this interface. The
 * clients' types are structural, so that neither package has to be installed.
 */
export interface Redis {
  /** Whether the keys are spread over several masters. */
  readonly isCluster: boolean;
  /** Whether the application has closed the client, or the client has given up. */
  isClosed(): boolean;
  /** The database's number: messages carry it, since pub/sub does not separate databases. */
  database(): Promise<number>;
  /**
   * Sends a command through the application's client, to the master that has `key`. If the library can, it drops a
   * command that has not been sent after `timeout` milliseconds.
   */
  send(key: string, args: readonly string[], timeout: number): Promise<unknown>;
  /** The master that has this slot, as far as the client knows. Without a cluster, it is the only master. */
  masterOf(slot: number): Master | undefined;
}

export interface Master {
  /** Tells this master from the others. */
  readonly address: string;
  /**
   * Opens a connection of the broker's own, with the application's settings. When `signal` aborts, the connection is
   * destroyed, even if it is still opening.
   */
  open(events: ConnectionEvents, signal: AbortSignal): Promise<Connection>;
}

export interface ConnectionEvents {
  readonly onMessage: (channel: string, message: string) => void;
  /** The connection has failed. May be called more than once, and after `destroy`. */
  readonly onClose: () => void;
}

/** A connection that never reconnects by itself, so that no interruption goes unnoticed. */
export interface Connection {
  send(args: readonly string[]): Promise<unknown>;
  subscribe(isSharded: boolean, channels: readonly string[]): Promise<unknown>;
  unsubscribe(isSharded: boolean, channels: readonly string[]): Promise<unknown>;
  destroy(): void;
}
