import { type Database, type ListeningConnection, type Row } from "./database.js";
import { Deadline } from "./deadline.js";
import { ServerClock } from "./server-clock.js";

/** What the broker needs of a `Pool` of `pg`. Declared here, so that the types of `pg` are not required. */
export interface PostgresPool {
  readonly totalCount: number;
  readonly ending: boolean;
  readonly options: object;
  connect(callback: (error: Error | undefined, client: PooledClient | undefined) => void): void;
}

type PooledClient = PostgresClient & { release(error?: boolean | Error): void };

/** What the broker needs of a `Client` of `pg`, from a pool or not. */
export interface PostgresClient {
  query(config: { text: string; rowMode: "array"; types: never }): Promise<unknown>;
  escapeLiteral(text: string): string;
  on(event: "error", listener: (error: Error) => void): unknown;
  off(event: "error", listener: (error: Error) => void): unknown;
}

interface OwnClient extends Omit<PostgresClient, "on"> {
  connect(): Promise<unknown>;
  end(): Promise<void>;
  on(event: "error" | "end", listener: () => void): this;
  on(event: "notification", listener: (message: { channel: string; payload?: string }) => void): unknown;
  readonly connection?: { readonly stream?: { destroy(): void } };
}

const asText = { getTypeParser: () => (value: unknown) => value } as never;

const ignore = (): void => {};

/** Runs the statements of a text. Resolves with the rows of each as text, whatever parsers the application has set. */
export async function ask(client: Pick<PostgresClient, "query">, text: string): Promise<(readonly Row[])[]> {
  const results = await client.query({ text, rowMode: "array", types: asText });
  return [results].flat().map((result) => (result as { rows: Row[] }).rows);
}

export class PoolDatabase implements Database {
  readonly #pool: PostgresPool;
  readonly #connectionString: string | undefined;
  readonly #clock = new ServerClock();

  /** @param connectionString where to listen, if not where the pool connects to */
  constructor(pool: PostgresPool, connectionString: string | undefined) {
    this.#pool = pool;
    this.#connectionString = connectionString;
  }

  get isClosed(): boolean {
    return this.#pool.ending;
  }

  async run(statements: readonly string[], deadline: Deadline): Promise<readonly (readonly Row[])[]> {
    let isOver = false;
    let giveUp = (): void => void (isOver = true);
    const answer = this.#acquire().then(async (client) => {
      // An exhausted pool may give a client only after the time is up.
      if (isOver) {
        client.release();
        client.off("error", ignore);
        throw deadline.error();
      }
      let hasLeft = false;
      const release = (isBroken: boolean): void => {
        if (hasLeft) return;
        hasLeft = true;
        client.release(isBroken);
        if (!isBroken) client.off("error", ignore);
      };
      giveUp = () => release(true);
      try {
        const rows = await this.#clock.transaction((text) => ask(client, text), statements, deadline);
        release(false);
        return rows;
      } catch (error) {
        // A connection survives an error of severity ERROR, but not one of severity FATAL.
        release((error as { severity?: unknown }).severity !== "ERROR");
        throw error;
      }
    });
    return deadline.race(answer, () => giveUp());
  }

  /**
   * Adds an error listener to the client within the pool's callback, because the pool itself listens to idle clients
   * only. If the listener were added after an `await`, a connection that is lost just before would end the process.
   */
  #acquire(): Promise<PooledClient> {
    return new Promise((resolve, reject) => {
      this.#pool.connect((error, client) => {
        if (client === undefined) return reject(error ?? new Error("The pool gave no client."));
        client.on("error", ignore);
        resolve(client);
      });
    });
  }

  async listen(bell: string, onNotification: (payload: string) => void, timeout: number): Promise<ListeningConnection> {
    const { Client, options } = this.#pool as unknown as {
      Client: new (config: object) => OwnClient;
      options: { password?: unknown };
    };
    const client = new Client(
      this.#connectionString === undefined
        ? // The pool makes the password not enumerable, so the spread leaves it out.
          { ...options, password: options.password, keepAlive: true }
        : { connectionString: this.#connectionString, keepAlive: true },
    );
    const destroy = (): void => client.connection?.stream?.destroy();
    const lost = new Promise<void>((resolve) => client.on("end", resolve).on("error", resolve));
    client.on("notification", ({ channel, payload }) => {
      if (channel === bell) onNotification(payload ?? "");
    });
    const timeouts = "('idle_session_timeout', 'idle_in_transaction_session_timeout')";
    const text = `SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ${timeouts}; LISTEN ${bell}`;
    const begun = client.connect().then(() => ask(client, text));
    try {
      await new Deadline(timeout).race(begun, destroy);
    } catch (error) {
      destroy();
      client.end().catch(ignore);
      throw error;
    }
    return {
      lost,
      run: (statements, deadline) =>
        deadline.race(
          this.#clock.transaction((question) => ask(client, question), statements, deadline),
          destroy,
        ),
      close: () => new Deadline(timeout).race(client.end(), destroy).catch(ignore),
    };
  }
}
