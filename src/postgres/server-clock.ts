import { type Row, sqlState } from "./database.js";
import type { Deadline } from "./deadline.js";
import { milliseconds } from "./plpgsql.js";

/** Sends a text as a transaction of its own and resolves with the rows of each of its statements. */
type Ask = (text: string) => Promise<readonly (readonly Row[])[]>;

const now = milliseconds("clock_timestamp()");

/**
 * The server's clock, learnt from its answers, so that every transaction can carry the time after which it must not
 * begin, or commit.
 *
 * `statement_timeout` alone is not enough, because it counts from when the server reads a statement. A server that
 * stood still, or got the statement late, would carry out a request that was rejected minutes ago. The price is a round
 * trip before the first transaction.
 */
export class ServerClock {
  /** By how many milliseconds, at least, the server's clock is ahead of `performance.now()`. */
  #lead: number | undefined;

  /**
   * Runs statements as one transaction, by sending them as one text. If one fails, none of them takes effect. The
   * transaction neither begins nor commits after the deadline.
   */
  async transaction(ask: Ask, statements: readonly string[], deadline: Deadline): Promise<readonly (readonly Row[])[]> {
    const lead = this.#lead ?? (await this.#read(ask));
    const sent = performance.now();
    const last = Math.floor(deadline.at + lead);
    const patience = Math.max(1, Math.ceil(deadline.at - sent));
    const text = [
      "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
      limit("statement_timeout", last, patience),
      ...statements,
      // `statement_timeout` is for each statement, and does not cover the commit, which may have to wait for another
      // transaction that notifies.
      limit("lock_timeout", last, patience),
    ].join(";\n");
    try {
      const [, told = [], ...rows] = await ask(text);
      this.#learn(told, sent);
      return rows.slice(0, -1);
    } catch (error) {
      if (!isTooLate(error)) throw error;
      if (deadline.isOver) throw deadline.error();
      // There is time left by this process's clock, so the server's clock has been set forward.
      this.#lead = undefined;
      return this.transaction(ask, statements, deadline);
    }
  }

  async #read(ask: Ask): Promise<number> {
    const sent = performance.now();
    const [told = []] = await ask(`SELECT ${now}`);
    return this.#learn(told, sent);
  }

  /** The server read its clock between `sent` and now. The quicker the answer, the closer the estimate. */
  #learn(told: readonly Row[], sent: number): number {
    const time = Number(told[0]?.[0]);
    const least = time - performance.now();
    const most = time + 1 - sent;
    // A lead that is not possible any more was learnt before the clock was set back.
    this.#lead = this.#lead === undefined || this.#lead > most ? least : Math.max(this.#lead, least);
    return this.#lead;
  }
}

/**
 * A statement that returns the server's clock, and limits what comes after it to the time that is left until `last` by
 * that clock, and at most to `patience`.
 */
function limit(setting: string, last: number, patience: number): string {
  // After `last` the limit is negative, which the server refuses, and the whole transaction with it.
  return (
    `SELECT c.now, set_config('${setting}', CASE WHEN c.now::bigint < ${last} ` +
    `THEN least(${last} - c.now::bigint, ${patience}) ELSE -1 END::text, true) FROM (SELECT ${now} AS now) AS c`
  );
}

/**
 * Whether the transaction was too late, by the server's clock. Then none of it was done. The message may be in any
 * language, so nothing but the setting's name is looked for.
 */
function isTooLate(error: unknown): boolean {
  return sqlState(error) === "22023" && error instanceof Error && /(?:statement|lock)_timeout/.test(error.message);
}
