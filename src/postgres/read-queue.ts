import type { Tail } from "./tail.js";

/** How many channels one statement reads at most. */
const tailsAtOnce = 64;

/** Stands for an event's number where the tail must be read whatever events it has. */
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

  /** Takes the tails for one statement. Drops those that have received their event by an earlier read. */
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
