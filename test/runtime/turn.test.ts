import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type * as Turn from "../../src/runtime/turn.js";

// How long streams may work before the event loop has its turn, with a loop and a clock of the test's own.

const realSetImmediate = globalThis.setImmediate;

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
    await settled();
  }
}

/** Resolves when all that runs in microtasks and ticks has run. */
function settled(): Promise<void> {
  return new Promise((resolve) => void realSetImmediate(resolve));
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

it("begins the allowance anew after the sockets have been served once", async () => {
  expect(turn.isTurnSpent()).toBe(false);
  now += 3;
  expect(turn.isTurnSpent()).toBe(false);
  await check();
  now += 3;
  expect(turn.isTurnSpent()).toBe(false);
  now += 4;
  expect(turn.isTurnSpent()).toBe(true);
});

it.each(["sockets", "immediates"])(
  "never lets streams that began among the %s work much longer than 4 ms between two looks at the timers",
  async (phase) => {
    let begun: Promise<void> | undefined;
    const begin = (): void => void (begun = work(100));
    const looks = [now];
    for (let n = 0; n < 100; n++) {
      if (n === 1 && phase === "sockets") begin();
      if (n === 1 && phase === "immediates") immediates.push(begin);
      await check();
      looks.push(now);
    }
    await begun;
    const between = looks.slice(1).map((at, n) => at - (looks[n] as number));
    // One item more: it had begun.
    expect(Math.max(...between)).toBeLessThanOrEqual(5);
    expect(now).toBe(1_100);
  },
);

it("lets however many streams that are always ready work no longer than 4 ms between two looks at the timers", async () => {
  const works = Array.from({ length: 300 }, () => work(10));
  // They have all begun in one turn, before any of them could know of the others.
  const looks: number[] = [];
  for (let n = 0; n < 2_000; n++) {
    await check();
    looks.push(now);
  }
  await Promise.all(works);
  expect(now).toBe(1_000 + 300 * 10);
  const between = looks.slice(1).map((at, n) => at - (looks[n] as number));
  expect(Math.max(...between)).toBeLessThanOrEqual(5);
});

it("serves those who wait in the order in which they came, each as soon as the one before has to wait", async () => {
  now += 1;
  turn.isTurnSpent();
  now += 10;
  const served: string[] = [];
  const wait = async (name: string, cost: number): Promise<void> => {
    await turn.nextTurn();
    served.push(`${name} at ${now - 1_000}`);
    now += cost;
  };
  const waiting = [wait("a", 2), wait("b", 2), wait("c", 2), wait("d", 2)];
  for (let n = 0; n < 4; n++) await check();
  await Promise.all(waiting);
  expect(served).toEqual(["a at 11", "b at 13", "c at 15", "d at 17"]);
});

it("gives each of two streams that are always ready a millisecond or so before it is the other's turn", async () => {
  const order: string[] = [];
  const stream = async (name: string): Promise<void> => {
    for (let n = 0; n < 20; n++) {
      now += 0.25;
      order.push(name);
      if (turn.isTurnSpent()) await turn.nextTurn();
    }
  };
  turn.isTurnSpent();
  now += 10;
  await Promise.all([turn.nextTurn().then(() => stream("a")), turn.nextTurn().then(() => stream("b")), ticking()]);
  expect(order.join("")).toMatch(/^(?:a{4}b{4}){5}$/);
});

it("serves many items in their order, 32 to a tick in later turns too", async () => {
  const ticks = vi.spyOn(process, "nextTick");
  const items = Array.from({ length: 1_000 }, (_, n) => n);
  const served: number[] = [];
  turn.forEachInTurn(items, (n) => {
    now += 0.1;
    served.push(n);
  });
  for (let n = 0; n < 100; n++) await check();
  expect(served).toEqual(items);
  // 32 ticks for the items, and up to three for each of the 25 turns.
  expect(ticks.mock.calls.length).toBeLessThan(110);
});

it("serves many items in their place, before those that came later, beside streams that are always ready", async () => {
  const busy = Array.from({ length: 50 }, () => work(2_000));
  for (let n = 0; n < 20; n++) await check();
  let left = 1_000;
  const began = now;
  let took = 0;
  turn.forEachInTurn(Array.from({ length: left }), () => {
    now += 0.1;
    if (--left === 0) took = now - began;
  });
  for (let n = 0; n < 400 && left > 0; n++) await check();
  expect(left).toBe(0);
  // 100 ms for the items, and one round of the others: 50 of 1 ms.
  expect(took).toBeLessThan(200);
  void busy;
});

it("looks at the clock after one of 16 fast items, and still lets them work for 4 ms", async () => {
  const looks = vi.mocked(performance.now).mock.calls;
  const before = looks.length;
  let items = 0;
  while (!turn.isTurnSpent()) {
    items += 1;
    now += 0.001;
  }
  expect(items).toBeGreaterThanOrEqual(4_000);
  expect(items).toBeLessThan(4_000 + 16);
  expect(looks.length - before).toBeLessThan(items / 15);
  expect(looks.length).toBeGreaterThan(before);
  await check();
});

it("looks after each item again once they have become slow, and in each new turn", async () => {
  const blocks: number[] = [];
  const workUntilSpent = (cost: () => number): void => {
    const from = now;
    do now += cost();
    while (!turn.isTurnSpent());
    blocks.push(now - from);
  };
  let handled = 0;
  // Fast for long enough that there are 16 items between two looks, and then at once as slow as can be.
  workUntilSpent(() => (++handled < 1_000 ? 0.001 : 3));
  await check();
  await check();
  workUntilSpent(() => 3);
  expect(blocks[0]).toBeLessThan(1 + 16 * 3 + 1);
  // The first item begins the turn, and two more spend it.
  expect(blocks[1]).toBe(9);
});

/** The loop turns until the streams have done their work. */
async function ticking(): Promise<void> {
  for (let n = 0; n < 10; n++) await check();
}

it("calls back when nobody waits: after those, too, who need several turns", async () => {
  const order: string[] = [];
  turn.whenNobodyWaits(() => order.push("nobody was waiting"));
  const working = ["one", "another"].map((name) => work(20).then(() => order.push(name)));
  expect(order).toEqual(["nobody was waiting"]);
  turn.whenNobodyWaits(() => order.push("nobody waits any more"));
  while (immediates.length > 0) await check();
  await Promise.all(working);
  expect(order).toEqual(["nobody was waiting", "one", "another", "nobody waits any more"]);
});

it("calls back after the last who waits has worked, also if a promise tells it that its turn has come", async () => {
  turn.isTurnSpent();
  now += 10;
  const order: string[] = [];
  const first = turn.nextTurn().then(() => {
    order.push("first");
    // In the tick in which the last is told, and before it hears of it.
    queueMicrotask(() => process.nextTick(turn.whenNobodyWaits, () => order.push("nobody waits any more")));
  });
  const second = turn.nextTurn().then(() => order.push("second"));
  while (immediates.length > 0) await check();
  await Promise.all([first, second]);
  expect(order).toEqual(["first", "second", "nobody waits any more"]);
});
