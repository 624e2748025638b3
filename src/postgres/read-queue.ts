import type { Tail } from "./tail.js";

/** How many channels one statement reads at most. */
const tailsAtOnce = 64;

/** In place of an event's number: the tail is to be read, whichever events it has. */
export const anyway: number = Infinity;

/** The tails to read, each with the number of the event that it lacks. */
export class ReadQueue {
  readonly #lacking = new Map<Tail, number>();

  get isEmpty(): boolean {
    return this.#lacking.size === 0;
  }

  add(tail: Tail, n: number): void {
    this.#lacking.set(tail, Math.max(n, this.#lacking.get(tail) ?? 0));
  }

  delete(tail: Tail): void {
    this.#lacking.delete(tail);
  }

  /** Takes the tails for one statement, without those whose event an earlier read has brought. */
  take(): Tail[] {
    const tails: Tail[] = [];
    for (const [tail, n] of this.#lacking) {
      if (tails.length === tailsAtOnce) break;
      this.#lacking.delete(tail);
      if (n > tail.last) tails.push(tail);
    }
    return tails;
  }
}
