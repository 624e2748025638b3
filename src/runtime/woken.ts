import { forEachInTurn } from "./turn.js";

/** What a publish can wake. It is an object, so that waking thousands of streams makes no closure for each. */
export interface Woken {
  /** Must not throw. */
  onWoken(): void;
}

let woken: Woken[] = [];

/** Calls `onWoken` after the publish returns, after all that were woken earlier, as many in each turn as it allows. */
export function wakeSoon(next: Woken): void {
  if (woken.push(next) === 1) queueMicrotask(run);
}

function run(): void {
  const batch = woken;
  woken = [];
  forEachInTurn(batch, callOnWoken);
}

function callOnWoken(next: Woken): void {
  next.onWoken();
}
