import { isTurnSpent, nextTurn } from "./response/turn.js";
import type { SourceReader } from "./source.js";

/**
 * Moves one item after the other from `reader` to `send`, each only when there is room for it.
 *
 * @param send takes an item; returns a promise where the next one must wait for room
 * @param isRunning whether the stream still wants items
 * @returns whether the source has ended, rather than the stream
 * @throws what the source or `send` throws
 */
export async function pump(reader: SourceReader, send: (item: unknown) => Promise<void> | undefined, isRunning: () => boolean): Promise<boolean> {
  while (isRunning()) {
    let result: IteratorResult<unknown>;
    try {
      result = await reader.next();
    } catch (error) {
      reader.ended();
      throw error;
    }
    if (result.done === true) reader.ended();
    if (!isRunning()) return false;
    if (result.done === true) return true;
    const room = send(result.value);
    if (room !== undefined) await room;
    // A source that is always ready would keep timers and other connections waiting for ever.
    if (isTurnSpent()) await nextTurn();
  }
  return false;
}
