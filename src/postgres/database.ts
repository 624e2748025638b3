import { EventStreamError } from "../errors.js";
import type { Deadline } from "./deadline.js";

/** A row of text. The functions of the schema return nothing else. */
export type Row = readonly (string | null)[];

export interface Runner {
  /**
   * Runs statements as one transaction and resolves with the rows of each. The transaction is READ COMMITTED, whatever
   * the default is.
   *
   * @throws the database's error, or `ERR_BROKER_UNAVAILABLE` if no answer comes in time. A transaction that has not
   *   been carried out by then will not be later.
   */
  run(statements: readonly string[], deadline: Deadline): Promise<readonly (readonly Row[])[]>;
}

/** A connection of the broker's own that listens. It never reconnects: a new one takes its place. */
export interface ListeningConnection extends Runner {
  /** Resolves when no more notifications can arrive. */
  readonly lost: Promise<unknown>;
  close(): Promise<void>;
}

export interface Database extends Runner {
  /** Whether the application has closed it, for good. */
  readonly isClosed: boolean;
  /** @throws the database's error, or `ERR_BROKER_UNAVAILABLE` if it does not listen within `timeout` milliseconds */
  listen(bell: string, onNotification: (payload: string) => void, timeout: number): Promise<ListeningConnection>;
}

/** The five characters by which Postgres names an error. */
export function sqlState(error: unknown): string | undefined {
  const code = typeof error === "object" && error !== null ? (error as { code?: unknown }).code : undefined;
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

/** Whether the schema, or something in it that this release needs, does not exist. */
export function lacksSchema(error: unknown): boolean {
  return ["3F000", "42P01", "42883", "42703"].includes(sqlState(error) ?? "");
}

export function lacksPermission(error: unknown): boolean {
  return sqlState(error) === "42501";
}

/**
 * The error that the application gets for a failure of the database.
 *
 * @param needs the permissions to name in the message if the role lacks one
 */
export function explain(error: unknown, schema: string, needs: string = needsToRun(schema)): EventStreamError {
  if (error instanceof EventStreamError) return error;
  const text = error instanceof Error ? error.message : String(error);
  if (/^(?:22|54)/.test(sqlState(error) ?? "")) {
    return new EventStreamError(
      "ERR_UNSERIALIZABLE_DATA",
      `Postgres cannot hold the event or its channel's name: ${text}.`,
      {
        cause: error,
      },
    );
  }
  const remedy = lacksSchema(error)
    ? `: the schema ${JSON.stringify(schema)} is not there, or not that of this release; await broker.migrate() first`
    : lacksPermission(error)
      ? `; the role needs ${needs}`
      : "";
  return new EventStreamError(
    "ERR_BROKER_UNAVAILABLE",
    `Postgres cannot be reached or refused the statement (${text})${remedy}.`,
    { cause: error },
  );
}

function needsToRun(schema: string): string {
  const rights = "EXECUTE on its functions and SELECT, INSERT, UPDATE and DELETE on its tables";
  return `USAGE on the schema ${JSON.stringify(schema)}, ${rights}`;
}

export function needsToMigrate(schema: string): string {
  return `CREATE on the database or, where the schema ${JSON.stringify(schema)} exists, to own it and what it holds`;
}
