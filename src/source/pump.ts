import { Feed, type Waiter } from "./feed.js";
import { forEachInTurn, isTurnSpent, nextTurn, whenTurnComes } from "../runtime/turn.js";
import type { SourceReader } from "./readers.js";

/** Where items go. */
export interface Sink {
  /** Takes an item; returns a promise where the next one must wait for room. */
  send(item: unknown): Promise<void> | undefined;
  /** The source has ended. */
  ended(): void;
  /** The source, or `send`, threw. */
  failed(error: unknown): void;
  /** Who wakes a feed is in the middle of another request: the stream goes on in its own. */
  runInAsyncScope(work: () => void): void;
}

/** Moves one item after the other from a source to its sink, each only when there is room for it. */
export abstract class Pump {
  /** A stream that is over takes it away: a source that goes on waiting, for whatever it waits for, then holds no request and no response. */
  protected sink: Sink | undefined;

  constructor(sink: Sink) {
    this.sink = sink;
  }

  /** Begins. Never throws. */
  abstract run(): void;
  protected abstract leave(): void;

  /** Lets the source go, for good. */
  stop(): void {
    this.sink = undefined;
    this.leave();
  }
}

/** A pump for what `readSource` has made of a source. */
export function pumpOf(reader: SourceReader | Feed<unknown>, sink: Sink): Pump {
  return reader instanceof Feed ? new FeedPump(reader, sink) : new ItemPump(reader, sink);
}

class ItemPump extends Pump {
  readonly #reader: SourceReader;

  constructor(reader: SourceReader, sink: Sink) {
    super(sink);
    this.#reader = reader;
  }

  run(): void {
    void this.#move();
  }

  async #move(): Promise<void> {
    try {
      while (this.sink !== undefined) {
        let result: IteratorResult<unknown>;
        try {
          result = await this.#reader.next();
        } catch (error) {
          this.#reader.ended();
          throw error;
        }
        if (result.done === true) {
          this.#reader.ended();
          this.sink?.ended();
          return;
        }
        const room = this.sink?.send(result.value);
        if (room !== undefined) await room;
        // Whoever has waited for room may find that others have used up the turn.
        if (isTurnSpent()) await nextTurn();
      }
    } catch (error) {
      this.sink?.failed(error);
    }
  }

  protected leave(): void {
    this.#reader.return();
  }
}

/** Does the same without a promise where an item is there, has room, and owes no turn. */
class FeedPump extends Pump implements Waiter {
  readonly #feed: Feed<unknown>;

  constructor(feed: Feed<unknown>, sink: Sink) {
    super(sink);
    this.#feed = feed;
  }

  run(): void {
    try {
      this.#move();
    } catch (error) {
      this.sink?.failed(error);
    }
  }

  #move(): void {
    while (this.sink !== undefined) {
      const result = this.#feed.read();
      if (result === undefined) return this.#feed.wait(this);
      if (result.done === true) return this.sink?.ended();
      const room = this.sink?.send(result.value);
      if (room !== undefined) return void room.then(() => this.wake());
      if (isTurnSpent()) return whenTurnComes(() => this.runInScope());
    }
  }

  wake(): void {
    if (woken.push(this) === 1) queueMicrotask(runWoken);
  }

  runInScope(): void {
    this.sink?.runInAsyncScope(() => this.run());
  }

  protected leave(): void {
    this.#feed.end();
  }
}

/** Those who were woken together run as soon as whoever woke them is done, as far as the turn lasts. */
let woken: FeedPump[] = [];

function runWoken(): void {
  const pumps = woken;
  woken = [];
  forEachInTurn(pumps, runInScope);
}

function runInScope(pump: FeedPump): void {
  pump.runInScope();
}
