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

/** Moves one item after the other from `reader` to the outlet's sink, each only when there is room for it. Never rejects. */
export async function pump(reader: SourceReader, outlet: Outlet): Promise<void> {
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
