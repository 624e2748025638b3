/**
 * Turns of the event loop, and how long the present one has lasted.
 *
 * Promises that are ready at once run before the loop turns: a source that is always ready would
 * keep timers and every other connection waiting for ever. So the streams of a process share one
 * allowance a turn, and who finds it spent waits for the next turn. A turn that was spent lasts until
 * timers and sockets have been served after it.
 */

// Taken at load: under fake timers the loop turns all the same, and work takes its real time.
const { setImmediate } = globalThis;
const now = performance.now.bind(performance);

const allowance = 10; // ms

let number = 0;
let began = 0;
let next: Promise<void> | undefined;

/** The number of the present turn: who sees the same one twice shares one allowance with himself. */
export function currentTurn(): number {
  if (next === undefined) {
    began = now();
    next = new Promise((resolve) => {
      const end = (): void => {
        number += 1;
        next = undefined;
        resolve();
      };
      // Immediates come after sockets and before timers: what is spent on one side of here must not be spent again on the other.
      setImmediate(() => (isSpent() ? setImmediate(end) : end()));
    });
  }
  return number;
}

/** Whether streams have worked for so long in this turn that they owe the loop one. */
export function isTurnSpent(): boolean {
  currentTurn();
  return isSpent();
}

function isSpent(): boolean {
  return now() - began >= allowance;
}

/** Resolves when the allowance is a new one: one promise for all who wait. */
export function nextTurn(): Promise<void> {
  currentTurn();
  return next as Promise<void>;
}

/** Calls `callback` when the loop has turned, after all that waits for the same by now: `nextTurn` may be before that. */
export function afterOneTurn(callback: () => void): void {
  setImmediate(callback);
}
