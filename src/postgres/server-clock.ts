import { type Row, sqlState, unanswered } from "./database.js";

/** Sends a text as a transaction of its own and resolves with the rows of each of its statements. */
type Ask = (text: string) => Promise<readonly (readonly Row[])[]>;

const now = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/**
 * The server's clock, as its answers have shown it, so that every transaction carries the time after which it must not begin.
 *
 * `statement_timeout` alone counts from when the server reads a statement. A server that stood still, or a network that held
 * the statement back, would carry out what was rejected minutes ago. The price is one round trip before the first transaction.
 */
export class ServerClock {
  /** By how many milliseconds, at least, the server's clock is ahead of `performance.now()`. */
  #lead: number | undefined;

  /**
   * Runs statements as one transaction. In one text they are one, in which the statement that fails undoes the others, so
   * that nothing is left to roll back.
   *
   * @param deadline by `performance.now()`: the transaction does not begin later, and each statement is cancelled then
   */
  async transaction(ask: Ask, statements: readonly string[], deadline: number): Promise<readonly (readonly Row[])[]> {
    const lead = this.#lead ?? (await this.#read(ask));
    const sent = performance.now();
    const last = Math.floor(deadline + lead);
    const patience = Math.max(1, Math.ceil(deadline - sent));
    const text = [
      "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
      // A negative timeout is out of range: the server refuses the whole text.
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
      // There is time left, so the server's clock has been set.
      this.#lead = undefined;
      return this.transaction(ask, statements, deadline);
    }
  }

  async #read(ask: Ask): Promise<number> {
    const sent = performance.now();
    const [told = []] = await ask(`SELECT (${now})::text`);
    return this.#learn(told, sent);
  }

  /** The answer was written between `sent` and now. The quicker it came, the closer it is. */
  #learn(told: readonly Row[], sent: number): number {
    const time = Number(told[0]?.[0]);
    const least = time - performance.now();
    const most = time + 1 - sent;
    // Above the most that is possible, it was learnt before the clock was set back.
    this.#lead = this.#lead === undefined || this.#lead > most ? least : Math.max(this.#lead, least);
    return this.#lead;
  }
}

/** Whether the server got the transaction after its deadline, by its own clock. Nothing was done. */
function isTooLate(error: unknown): boolean {
  return sqlState(error) === "22023" && error instanceof Error && error.message.includes("statement_timeout");
}
