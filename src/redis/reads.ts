import type { Redis } from "./client.js";
import { toBrokerError, unavailable, withTimeout } from "./failure.js";
import { OwnConnection } from "./own-connection.js";
import { runScript, type Answer, type Question } from "./question.js";
import { slotOf } from "./slot.js";

/**
 * Runs the scripts whose replies may be large. They have connections of their own, one for each master, so that a slow
 * page never delays a `publish`.
 */
export class Reads {
  readonly #redis: Redis;
  readonly #timeout: number;
  readonly #connections = new Map<string, Promise<OwnConnection>>();
  /** How many connections in a row were closed because Redis sent nothing. */
  #silences = 0;
  #isClosed = false;

  constructor(redis: Redis, timeout: number) {
    this.#redis = redis;
    this.#timeout = timeout;
  }

  /** @throws {EventStreamError} (as a rejection) `ERR_BROKER_UNAVAILABLE`, `ERR_FOREIGN_ENTRY` */
  async run(question: Question): Promise<Answer> {
    const key = question.keys[0] as string;
    const master = this.#redis.masterOf(slotOf(key));
    try {
      if (master === undefined) return await this.#runOnClient(key, question);
      const connection = await this.#open(master);
      try {
        const answer = await runScript((args) => connection.send(args), question);
        this.#silences = 0;
        return answer;
      } catch (error) {
        const text = error instanceof Error ? error.message : "";
        // The application's client follows the redirection, and updates its map of slots.
        if (/^(?:MOVED|ASK|TRYAGAIN) /.test(text)) return await this.#runOnClient(key, question);
        if (text.includes("READONLY")) connection.close();
        throw error;
      }
    } catch (error) {
      throw toBrokerError(error);
    }
  }

  #runOnClient(key: string, question: Question): Promise<Answer> {
    return withTimeout(
      this.#timeout,
      runScript((args) => this.#redis.send(key, args, this.#timeout), question),
    );
  }

  async #open(master: NonNullable<ReturnType<Redis["masterOf"]>>): Promise<OwnConnection> {
    if (this.#isClosed) throw unavailable("The broker has been closed.");
    const { address } = master;
    let opening = this.#connections.get(address);
    if (opening === undefined) {
      const forget = (): void => {
        if (this.#connections.get(address) === opening) this.#connections.delete(address);
      };
      const onClose = (wasSilent: boolean): void => {
        if (wasSilent) this.#silences++;
        forget();
      };
      // An event may be so large that its reply takes longer than the timeout, so each try waits twice as long.
      const patience = Math.min(this.#timeout * 2 ** this.#silences, 2 ** 31 - 1);
      opening = OwnConnection.open(master, this.#timeout, patience, { onMessage() {}, onClose });
      this.#connections.set(address, opening);
      opening.catch(forget);
    }
    const connection = await opening;
    if (this.#isClosed) connection.close();
    return connection;
  }

  close(): void {
    this.#isClosed = true;
    for (const opening of this.#connections.values())
      opening.then(
        (connection) => connection.close(),
        () => {},
      );
  }
}
