import { compareIds, type Entry } from "./entry.js";
import type { Position } from "./composite-id.js";
import type { Tail } from "./tail.js";

/** One subscription's place in one channel: in the tail that this process shares, or behind it, in pages from Redis. */
export class Cursor {
  readonly #tail: Tail;
  readonly #wake: () => void;
  /** After what was last taken. */
  position: Position;
  #losses: number;
  /** Where the next entry is in the tail, if it is. */
  #index: number | undefined;
  #page: readonly Entry[] = [];
  #taken = 0;
  #isLoading = false;
  /** Whether events were found to be missing that no entry will tell of. */
  #isBehind = false;
  #error: unknown;

  constructor(tail: Tail, position: Position, wake: () => void) {
    this.#tail = tail;
    this.position = position;
    this.#wake = wake;
    this.#losses = tail.losses;
    tail.subscriptions++;
  }

  /**
   * The next entry; `"gap"`, once, where events are missing before it; `"loading"` or `undefined` where it is not
   * here yet, or not there: `wake` will be called.
   */
  peek(): Entry | "gap" | "loading" | undefined {
    if (this.#error !== undefined) throw this.#error;
    if (this.#losses !== this.#tail.losses) return this.#restart();
    const entry = this.#next();
    if (this.#isBehind) {
      this.#isBehind = false;
      return "gap";
    }
    if (entry === undefined) return this.#isLoading ? "loading" : undefined;
    // Where its predecessor is not after this place, nothing is between them.
    if (compareIds(entry.after, this.position) <= 0) return entry;
    this.position = entry.after;
    return "gap";
  }

  /** Takes the entry that `peek` showed. */
  take(entry: Entry): void {
    this.position = entry.id;
    if (this.#taken < this.#page.length) this.#taken++;
    else if (this.#index !== undefined) this.#index++;
  }

  #next(): Entry | undefined {
    const held = this.#page[this.#taken];
    if (held !== undefined) return held;
    const tail = this.#tail;
    if (this.#index === undefined || this.#index < tail.base) this.#index = tail.seek(this.position);
    if (this.#index === undefined) {
      this.#load();
      return undefined;
    }
    // The reader may still be behind what was read from Redis, or what was the newest when the subscription began.
    let entry = tail.at(this.#index);
    while (entry !== undefined && compareIds(entry.id, this.position) <= 0) entry = tail.at(++this.#index);
    if (entry === undefined && tail.error !== undefined) throw tail.error;
    if (entry === undefined) tail.wait(this.#wake);
    return entry;
  }

  #load(): void {
    if (this.#isLoading) return;
    this.#isLoading = true;
    this.#tail.page(this.position).then(
      (page) => {
        this.#isLoading = false;
        this.#page = page;
        this.#taken = 0;
        // What was between here and the tail has aged out.
        if (page.length === 0) {
          this.#isBehind = !this.#tail.adjoins(this.position);
          this.position = this.#tail.floor;
        }
        this.#wake();
      },
      (error: unknown) => {
        this.#isLoading = false;
        this.#error = error;
        this.#wake();
      },
    );
  }

  #restart(): "gap" {
    this.#losses = this.#tail.losses;
    this.#index = undefined;
    this.#page = [];
    this.#taken = 0;
    this.position = this.#tail.floor;
    return "gap";
  }

  /** Lets go of the tail. */
  close(): Tail {
    this.#tail.stopWaiting(this.#wake);
    this.#tail.subscriptions--;
    return this.#tail;
  }
}
