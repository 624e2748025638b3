import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Timer } from "../../src/runtime/clock.js";
import { Ticker } from "../../src/runtime/shared-interval.js";
import { turn } from "../support/stage.js";

/** How long the calls have worked, which a test says: the real time of a busy machine would end batches by chance. */
const work = vi.hoisted(() => {
  // The module takes this clock when it loads, which is after this.
  const work = { milliseconds: 0 };
  Object.defineProperty(performance, "now", { value: () => work.milliseconds, configurable: true });
  return work;
});
delete (performance as Partial<Performance>).now;

// The loop stays real; timers and the clock are ours.
const fake = (): void =>
  void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "performance"] });
beforeEach(fake);
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

class Caller extends Ticker {
  readonly tick: () => void;

  constructor(interval: number, tick: () => void) {
    super();
    this.tick = tick;
    this.startTicking(interval);
  }

  stop(): void {
    this.stopTicking();
  }
}

const every = (interval: number, tick: () => void): (() => void) => {
  const caller = new Caller(interval, tick);
  return () => caller.stop();
};

it("serves any number of streams with one timer", () => {
  const stops = Array.from({ length: 10_000 }, () => every(1_000, () => {}));
  expect(vi.getTimerCount()).toBe(1);
  for (const stop of stops) stop();
  expect(vi.getTimerCount()).toBe(0);
});

it("calls those who fall due together in batches, with a turn of the loop between them", async () => {
  let calls = 0;
  const stops = Array.from({ length: 1_000 }, () => every(1_000, () => (calls += 1)));
  vi.advanceTimersByTime(1_000);
  const seen = [calls];
  while (calls < 1_000) {
    await turn();
    seen.push(calls);
  }
  for (const stop of stops) stop();
  expect(calls).toBe(1_000);
  const bursts = seen.map((count, n) => count - (seen[n - 1] ?? 0));
  expect(Math.max(...bursts)).toBeLessThanOrEqual(200);
});

it("keeps each one's own phase", () => {
  const calls: string[] = [];
  const stopA = every(1_000, () => calls.push(`a ${performance.now() - start}`));
  const start = performance.now();
  vi.advanceTimersByTime(400);
  const stopB = every(1_000, () => calls.push(`b ${performance.now() - start}`));
  vi.advanceTimersByTime(2_000);
  stopA();
  stopB();
  expect(calls).toEqual(["a 1000", "b 1400", "a 2000", "b 2400"]);
});

it("skips what a held-up loop has missed, and does not drift", async () => {
  const calls: number[] = [];
  const now = vi.spyOn(performance, "now");
  const start = performance.now();
  const stop = every(1_000, () => calls.push(performance.now() - start));
  vi.advanceTimersByTime(1_000);
  // The loop hangs: time goes by, and timers do not fire.
  now.mockReturnValue(start + 4_300);
  vi.advanceTimersByTime(1_000);
  now.mockReturnValue(start + 5_000);
  vi.advanceTimersByTime(700);
  stop();
  expect(calls).toEqual([1_000, 4_300, 5_000]);
});

it("keeps everyone's own beat after the loop was held up", () => {
  const now = vi.spyOn(performance, "now");
  const start = performance.now();
  const calls: string[] = [];
  const stops = [0, 600].map((offset) => {
    vi.advanceTimersByTime(offset);
    return every(1_000, () => calls.push(`${offset} at ${performance.now() - start}`));
  });
  now.mockReturnValue(start + 2_300);
  vi.advanceTimersByTime(1_000);
  for (const at of [2_600, 3_000, 3_600]) {
    now.mockReturnValue(start + at);
    vi.advanceTimersByTime(at === 2_600 ? 300 : 600);
  }
  for (const stop of stops) stop();
  expect(calls).toEqual(["600 at 2300", "0 at 2300", "600 at 2600", "0 at 3000", "600 at 3600"]);
});

it("beats under real timers while a stream of fake ones is left, and the other way round", async () => {
  const real = globalThis.setTimeout;
  const fakeCalls: number[] = [];
  const stopFake = every(20, () => fakeCalls.push(1));
  vi.useRealTimers();
  await new Promise<void>((resolve) => {
    const stop = every(20, () => {
      stop();
      resolve();
    });
  });
  vi.useFakeTimers();
  expect(globalThis.setTimeout).not.toBe(real);
  const stop = every(20, () => fakeCalls.push(2));
  vi.advanceTimersByTime(20);
  expect(fakeCalls).toEqual([2]);
  stop();
  stopFake();
});

it("calls nobody who was stopped, even by one before in the same beat", () => {
  const calls: string[] = [];
  const stopFirst = every(1_000, () => {
    calls.push("first");
    stopSecond();
  });
  const stopSecond = every(1_000, () => calls.push("second"));
  vi.advanceTimersByTime(2_000);
  stopFirst();
  expect(calls).toEqual(["first", "first"]);
  expect(vi.getTimerCount()).toBe(0);
});

it("goes on with the others when one is stopped", () => {
  const calls: string[] = [];
  const stops = ["a", "b", "c"].map((name) => every(1_000, () => calls.push(name)));
  stops[0]?.();
  vi.advanceTimersByTime(1_000);
  for (const stop of stops) stop();
  expect(calls).toEqual(["b", "c"]);
});

it("lets a call that takes long be followed by a turn of the loop", async () => {
  let calls = 0;
  const stops = Array.from({ length: 40 }, () =>
    every(1_000, () => {
      calls += 1;
      work.milliseconds += 3;
    }),
  );
  vi.advanceTimersByTime(1_000);
  const seen = [0, calls];
  while (calls < 40) {
    await turn();
    seen.push(calls);
  }
  for (const stop of stops) stop();
  const bursts = seen.slice(1).map((count, n) => count - (seen[n] as number));
  expect(Math.max(...bursts)).toBeLessThanOrEqual(3);
});

it("calls everyone once after the process stood still for an hour, without going through what was missed", async () => {
  const now = vi.spyOn(performance, "now");
  const start = performance.now();
  const calls: string[] = [];
  const stops = Array.from({ length: 1_000 }, (_, n) => {
    now.mockReturnValue(start + n);
    return every(1_000, () => calls.push(`${n} at ${performance.now() - start}`));
  });
  const add = vi.spyOn(Set.prototype, "add");
  now.mockReturnValue(start + 3_600_500);
  vi.advanceTimersByTime(1_000);
  while (calls.length < 1_000) await turn();
  // Each takes its place in the queue anew, for each time that it is called, and once more after the standstill.
  expect(add.mock.calls.length).toBeLessThan(3_000);
  expect(new Set(calls).size).toBe(1_000);
  // A timer may be a millisecond early, so 501 is due as well. Those whose last time was longest ago come first, and everyone keeps its phase.
  expect([calls[0], calls[499], calls[999]]).toEqual(["502 at 3600500", "1 at 3600500", "501 at 3600500"]);
  calls.length = 0;
  now.mockReturnValue(start + 3_600_502);
  vi.advanceTimersByTime(2);
  expect(calls).toEqual(["502 at 3600502", "503 at 3600502"]);
  for (const stop of stops) stop();
  expect(vi.getTimerCount()).toBe(0);
});

it.each(["real", "fake"])("leaves nothing behind where %s timers are replaced before it ends", (first) => {
  const real = { set: vi.fn(), clear: vi.fn() };
  if (first === "real") {
    vi.useRealTimers();
    vi.stubGlobal("setTimeout", real.set.mockReturnValue("a real timer"));
    vi.stubGlobal("clearTimeout", real.clear);
  }
  const stop = every(1_000, () => {});
  const timer = new Timer(1_000, () => {});
  const timers = vi.isFakeTimers() ? vi.getTimerCount() : 0;
  if (first === "real") fake();
  else vi.stubGlobal("clearTimeout", real.clear);
  stop();
  timer.stop();
  if (first === "real") {
    expect(real.clear.mock.calls).toEqual([["a real timer"], ["a real timer"]]);
  } else {
    expect(timers).toBe(2);
    expect(vi.getTimerCount()).toBe(0);
    expect(real.clear).not.toHaveBeenCalled();
  }
  vi.useRealTimers();
  vi.unstubAllGlobals();
});
