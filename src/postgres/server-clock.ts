import { type Row, sqlState, unanswered } from "./database.js";

/** Sends a text as a transaction of its own and resolves with the rows of each of its statements. */
type Ask = (text: string) => Promise<readonly (readonly Row[])[]>;

const now = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/**
 * The server's clock, learnt from its answers, so that every transaction can carry the time after which it must not
 * begin.
 *
 * `statement_timeout` alone is not enough, because it counts from when the server reads a statement. A server that
 * stood still, or got the statement late, would carry out a request that was rejected minutes ago. The price is a round
 * trip before the first transaction.
 */
export class ServerClock {
  /** By how many milliseconds, at least, the server's clock is ahead of `performance.now()`. */
  #lead: number | undefined;

  /**
   * Runs statements as one transaction, by sending them as one text. If one fails, none of them takes effect.
   *
   * @param deadline by `performance.now()`. The transaction does not begin later. Each of its statements is cancelled
   *   if it runs for longer than the time that is left when the transaction begins
   */
  async transaction(ask: Ask, statements: readonly string[], deadline: number): Promise<readonly (readonly Row[])[]> {
    const lead = this.#lead ?? (await this.#read(ask));
    const sent = performance.now();
    const last = Math.floor(deadline + lead);
    const patience = Math.max(1, Math.ceil(deadline - sent));
    const text = [
      "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
      // After the deadline the timeout is negative, which the server refuses, and the whole text with it.
      `SELECT c.now::text, set_config('statement_timeout', CASE WHEN c.now < ${last} ` +
        `THEN least(${last} - c.now, ${patience}) ELSE -1 END::text, true) FROM (SELECT ${now} AS now) AS c`,
      ...statements,
    ].join(";\n");
    try {
      const [, told = [], ...rows] = await ask(text);
      this.#learn(told, sent);
      return rows;
    } catch (error) {
      if (!isTooLate(error)) throw error;
      if (performance.now() >= deadline) throw unanswered(deadline - sent);
      // There is time left by this process's clock, so the server's clock has been set forward.
      this.#lead = undefined;
      return this.transaction(ask, statements, deadline);
    }
  }

  async #read(ask: Ask): Promise<number> {
    const sent = performance.now();
    const [told = []] = await ask(`SELECT (${now})::text`);
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

/** Whether the server got the transaction after the deadline, by the server's clock. Then none of it was done. */
function isTooLate(error: unknown): boolean {
  return sqlState(error) === "22023" && error instanceof Error && error.message.includes("statement_timeout");
}
