import { property } from "../checks.js";
import { type Database, type ListeningConnection, type Row } from "./database.js";
import { Deadline } from "./deadline.js";
import { ServerClock } from "./server-clock.js";

/** What the broker needs of a `PGlite`, the embedded Postgres. Declared here, so that no PGlite package is required. */
export interface PGliteDatabase {
  transaction<T>(callback: (tx: PGliteTransaction) => Promise<T>): Promise<T>;
  listen(channel: string, callback: (payload: string) => void): Promise<() => Promise<void>>;
}

/** What the broker needs of the `tx` that a `PGlite` passes to the callback of `transaction`. */
export interface PGliteTransaction {
  exec(text: string, options: object): Promise<{ rows: unknown[] }[]>;
  rollback(): Promise<void>;
}

/** Leaves values of type 25, which is `text`, as they are. */
const asText = { rowMode: "array", parsers: { 25: (value: string) => value } };

export async function ask(tx: PGliteTransaction, text: string): Promise<(readonly Row[])[]> {
  return (await tx.exec(text, asText)).map(({ rows }) => rows as Row[]);
}

/** A PGlite has one connection: while the application has a transaction open, the broker waits for its end. */
export class EmbeddedDatabase implements Database {
  readonly #database: PGliteDatabase;
  readonly #clock = new ServerClock();

  constructor(database: PGliteDatabase) {
    this.#database = database;
  }

  get isClosed(): boolean {
    return property(this.#database, "closed") === true;
  }

  run(statements: readonly string[], deadline: Deadline): Promise<readonly (readonly Row[])[]> {
    let isOver = false;
    const askInTransaction = (text: string) =>
      this.#database.transaction(async (tx) => {
        if (isOver) throw deadline.error();
        return ask(tx, text);
      });
    return deadline.race(this.#clock.transaction(askInTransaction, statements, deadline), () => (isOver = true));
  }

  async listen(bell: string, onNotification: (payload: string) => void, timeout: number): Promise<ListeningConnection> {
    const listening = this.#database.listen(bell, onNotification);
    // A closed PGlite refuses to unlisten, but then nothing listens any more either.
    const close = (): Promise<void> =>
      new Deadline(timeout).race(listening.then((unlisten) => unlisten())).catch(() => {});
    await new Deadline(timeout).race(listening, () => void close());
    return { lost: new Promise(() => {}), run: (statements, deadline) => this.run(statements, deadline), close };
  }
}
