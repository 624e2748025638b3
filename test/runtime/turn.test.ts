import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type * as Turn from "../../src/runtime/turn.js";

// How long streams may work before the event loop has its turn, with a loop and a clock of the test's own.

let now: number;
let immediates: (() => void)[];
let turn: typeof Turn;

/** What follows the sockets, and comes before the timers. */
async function check(): Promise<void> {
  const due = immediates;
  immediates = [];
  for (const callback of due) {
    callback();
    // Whoever waits for the next turn works now: before the timers.
    await Promise.resolve();
  }
}

/** A stream that always has more: it works until it owes the loop a turn. */
async function work(total: number): Promise<void> {
  for (let done = 0; done < total; done++) {
    now += 1;
    if (turn.isTurnSpent()) await turn.nextTurn();
  }
}

beforeEach(async () => {
  now = 1_000;
  immediates = [];
  vi.spyOn(performance, "now").mockImplementation(() => now);
  vi.stubGlobal("setImmediate", (callback: () => void) => immediates.push(callback));
  // It takes both at load.
  vi.resetModules();
  turn = await import("../../src/runtime/turn.js");
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

it("ends a turn that is not spent after the sockets have been served once", async () => {
  const first = turn.currentTurn();
  expect(turn.currentTurn()).toBe(first);
  now += 9;
  expect(turn.isTurnSpent()).toBe(false);
  await check();
  expect(turn.currentTurn()).toBe(first + 1);
});

it.each(["sockets", "immediates"])(
  "never lets streams that began among the %s work much longer than 10 ms between two looks at the timers",
  async (phase) => {
    let begun: Promise<void> | undefined;
    const begin = (): void => void (begun = work(100));
    const looks = [now];
    for (let n = 0; n < 40; n++) {
      if (n === 1 && phase === "sockets") begin();
      if (n === 1 && phase === "immediates") immediates.push(begin);
      await check();
      looks.push(now);
    }
    await begun;
    const between = looks.slice(1).map((at, n) => at - (looks[n] as number));
    // One item more: it had begun.
    expect(Math.max(...between)).toBeLessThanOrEqual(11);
    expect(now).toBe(1_100);
  },
);

it("wakes all who wait with one promise", () => {
  expect(turn.nextTurn()).toBe(turn.nextTurn());
});
