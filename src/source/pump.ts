import { Feed, type Waiter } from "./feed.js";
import { isTurnSpent, nextTurn, whenTurnComes } from "../runtime/turn.js";
import { type Woken, wakeSoon } from "../runtime/woken.js";
import { isLast, type SourceReader } from "./readers.js";

/** What a pump reports to. */
export interface PumpEvents {
  /** The source has ended. */
  onEnd(): void;
  /** The source, or the outlet, threw. */
  onError(error: unknown): void;
  /** Runs `work` in the stream's own async context, because a feed may be woken in the middle of another request. */
  runInAsyncScope(work: () => void): void;
}

/** Where items go. */
export interface Outlet {
  /** Takes an item. */
  send(item: unknown): void;
  /** If there is no room for another item, returns a promise that resolves when there is. */
  full(): Promise<void> | undefined;
}

/** Moves one item after the other from a source to its outlet, each only when there is room for it. */
export abstract class Pump {
  /** Both fields are cleared at the end, so that a source that is still waiting does not keep the request in memory. */
  protected events: PumpEvents | undefined;
  protected outlet: Outlet | undefined;

  constructor(events: PumpEvents, outlet: Outlet) {
    this.events = events;
    this.outlet = outlet;
  }

  /** Begins. Never throws. */
  abstract run(): void;
  protected abstract releaseSource(): void;

  /** Releases the source, and drops the references to the stream. */
  release(): void {
    this.events = undefined;
    this.outlet = undefined;
    this.releaseSource();
  }
}

/** Makes the pump for a reader or feed that `readSource` has returned. */
export function pumpOf(reader: SourceReader | Feed<unknown>, events: PumpEvents, outlet: Outlet): Pump {
  return reader instanceof Feed ? new FeedPump(reader, events, outlet) : new ItemPump(reader, events, outlet);
}

class ItemPump extends Pump {
  readonly #reader: SourceReader;

  constructor(reader: SourceReader, events: PumpEvents, outlet: Outlet) {
    super(events, outlet);
    this.#reader = reader;
  }

  run(): void {
    void this.#move();
  }

  async #move(): Promise<void> {
    try {
      while (this.events !== undefined) {
        let result: IteratorResult<unknown>;
        let isOver: boolean;
        try {
          result = await this.#reader.next();
          isOver = isLast(result);
        } catch (error) {
          this.#reader.onEnd();
          throw error;
        }
        if (isOver) {
          this.#reader.onEnd();
          this.events?.onEnd();
          return;
        }
        this.outlet?.send(result.value);
        // Check both again after each wait: once there is room, the turn may be spent; once the turn comes, the socket
        // may be full.
        for (let pause = this.#pause(); pause !== undefined; pause = this.#pause()) await pause;
      }
    } catch (error) {
      this.events?.onError(error);
    }
  }

  /** A promise that the next item must wait for, if there is one. */
  #pause(): Promise<void> | undefined {
    return this.outlet?.full() ?? (isTurnSpent() ? nextTurn() : undefined);
  }

  protected releaseSource(): void {
    this.#reader.return();
  }
}

/** Like `ItemPump`, but needs no promise for an item that is ready, if there is room and the turn is not spent. */
class FeedPump extends Pump implements Waiter, Woken {
  readonly #feed: Feed<unknown>;

  constructor(feed: Feed<unknown>, events: PumpEvents, outlet: Outlet) {
    super(events, outlet);
    this.#feed = feed;
  }

  run(): void {
    try {
      this.#move();
    } catch (error) {
      this.events?.onError(error);
    }
  }

  #move(): void {
    while (this.events !== undefined) {
      const full = this.outlet?.full();
      if (full !== undefined) return void full.then(() => this.wake());
      const result = this.#feed.read();
      if (result === undefined) return this.#feed.wait(this);
      if (result.done === true) return this.events?.onEnd();
      this.outlet?.send(result.value);
      if (isTurnSpent()) return whenTurnComes(() => this.onWoken());
    }
  }

  wake(): void {
    wakeSoon(this);
  }

  onWoken(): void {
    this.events?.runInAsyncScope(() => this.run());
  }

  protected releaseSource(): void {
    this.#feed.end();
  }
}
