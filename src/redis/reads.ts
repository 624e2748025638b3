import type { Redis } from "./client.js";
import { explain, unavailable, within } from "./failure.js";
import { Line } from "./line.js";
import { ask, type Answer, type Question } from "./question.js";
import { slotOf } from "./slot.js";

/**
 * Questions with large answers, over connections of the broker's own, one for each master: a page that takes long never
 * holds up what the application publishes.
 */
export class Reads {
  readonly #redis: Redis;
  readonly #timeout: number;
  readonly #lines = new Map<string, Promise<Line>>();
  /** How often in a row Redis said nothing for so long. */
  #silences = 0;
  #isClosed = false;

  constructor(redis: Redis, timeout: number) {
    this.#redis = redis;
    this.#timeout = timeout;
  }

  /** @throws {EventStreamError} (as a rejection) `ERR_BROKER_UNAVAILABLE`, `ERR_FOREIGN_ENTRY` */
  async ask(question: Question): Promise<Answer> {
    const key = question.keys[0] as string;
    const master = this.#redis.masterOf(slotOf(key));
    try {
      if (master === undefined) return await this.#askClient(key, question);
      const line = await this.#open(master);
      try {
        const answer = await ask((args) => line.send(args), question);
        this.#silences = 0;
        return answer;
      } catch (error) {
        const text = error instanceof Error ? error.message : "";
        // The client follows, and knows better from then on.
        if (/^(?:MOVED|ASK|TRYAGAIN) /.test(text)) return await this.#askClient(key, question);
        if (!line.isOpen) this.#silences++;
        if (text.includes("READONLY")) line.close();
        throw error;
      }
    } catch (error) {
      throw explain(error);
    }
  }

  #askClient(key: string, question: Question): Promise<Answer> {
    return within(
      this.#timeout,
      ask((args) => this.#redis.send(key, args, this.#timeout), question),
    );
  }

  async #open(master: NonNullable<ReturnType<Redis["masterOf"]>>): Promise<Line> {
    if (this.#isClosed) throw unavailable("The broker has been closed.");
    const { address } = master;
    let opening = this.#lines.get(address);
    if (opening === undefined) {
      const forget = (): void => {
        if (this.#lines.get(address) === opening) this.#lines.delete(address);
      };
      // An event may be so large that it takes longer than the timeout: each time Redis gets more of it.
      const patience = Math.min(this.#timeout * 2 ** this.#silences, 2 ** 31 - 1);
      opening = Line.open(master, this.#timeout, patience, { onMessage() {}, onClose: forget });
      this.#lines.set(address, opening);
      opening.catch(forget);
    }
    const line = await opening;
    if (this.#isClosed) line.close();
    return line;
  }

  close(): void {
    this.#isClosed = true;
    for (const opening of this.#lines.values())
      opening.then(
        (line) => line.close(),
        () => {},
      );
  }
}
