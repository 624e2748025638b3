import type { AsyncResource } from "node:async_hooks";
import { Feed } from "./feed.js";
import { currentTurn, isTurnSpent, nextTurn } from "./response/turn.js";
import type { SourceReader } from "./source.js";

/** Where items go. */
export interface Sink {
  /** Takes an item; returns a promise where the next one must wait for room. */
  send(item: unknown): Promise<void> | undefined;
  /** The source has ended. */
  ended(): void;
  /** The source, or `send`, threw. */
  failed(error: unknown): void;
}

/**
 * What the pump knows of its stream. A stream that is over takes its sink away: a source that goes on waiting, for
 * whatever it waits for, then holds no request and no response.
 */
export interface Outlet {
  sink: Sink | undefined;
}

/**
 * Moves one item after the other from `reader` to the outlet's sink, each only when there is room for it. Never throws.
 * `scope` is that of the request: who wakes a feed is in the middle of another one.
 */
export function pump(reader: SourceReader | Feed<unknown>, outlet: Outlet, scope: AsyncResource): void {
  if (reader instanceof Feed) new FeedPump(reader, outlet, scope).run();
  else void pumpItems(reader, outlet);
}

async function pumpItems(reader: SourceReader, outlet: Outlet): Promise<void> {
  let turn = -1;
  try {
    while (outlet.sink !== undefined) {
      let result: IteratorResult<unknown>;
      try {
        result = await reader.next();
      } catch (error) {
        reader.ended();
        throw error;
      }
      if (result.done === true) {
        reader.ended();
        outlet.sink?.ended();
        return;
      }
      const room = outlet.sink?.send(result.value);
      if (room !== undefined) await room;
      // A source that is always ready would keep timers and other connections waiting for ever. One item in a turn does not:
      // among thousands that get the same event, nobody owes a turn.
      const previous = turn;
      turn = currentTurn();
      if (turn === previous && isTurnSpent()) await nextTurn();
    }
  } catch (error) {
    outlet.sink?.failed(error);
  }
}

/** Does the same without a promise where an item is there, has room, and owes no turn. */
class FeedPump {
  readonly #feed: Feed<unknown>;
  readonly #outlet: Outlet;
  readonly #scope: AsyncResource;
  #turn = -1;

  constructor(feed: Feed<unknown>, outlet: Outlet, scope: AsyncResource) {
    this.#feed = feed;
    this.#outlet = outlet;
    this.#scope = scope;
  }

  run(): void {
    try {
      this.#move();
    } catch (error) {
      this.#outlet.sink?.failed(error);
    }
  }

  #move(): void {
    while (this.#outlet.sink !== undefined) {
      const result = this.#feed.read();
      if (result === undefined) return this.#feed.wait(this.#woken);
      if (result.done === true) return this.#outlet.sink?.ended();
      let room = this.#outlet.sink?.send(result.value);
      const previous = this.#turn;
      this.#turn = currentTurn();
      if (room === undefined && this.#turn === previous && isTurnSpent()) room = nextTurn();
      if (room !== undefined) return void room.then(this.#woken);
    }
  }

  readonly #woken = (): void => runSoon(this);

  runInScope(): void {
    this.#scope.runInAsyncScope(() => this.run());
  }
}

let woken: FeedPump[] = [];

/** Runs those who were woken together, as soon as whoever woke them is done. */
function runSoon(pump: FeedPump): void {
  if (woken.push(pump) === 1) queueMicrotask(runAll);
}

function runAll(): void {
  const pumps = woken;
  woken = [];
  for (const pump of pumps) pump.runInScope();
}
