import { memoryBroker } from "express-event-source";
import type { Fuzzed } from "../fuzz.js";
import { checkBroker, type Subject } from "./check.js";
import { type BrokerProgram, brokerProgram } from "./program.js";

/** Time that passes only when it is told to, for all code that uses the global clock. */
class VirtualTime {
  #now = 0;
  readonly #intervals = new Map<object, { due: number; readonly every: number; readonly call: () => void }>();

  readonly setInterval = (call: () => void, every: number): object => {
    const timer = { unref: () => timer };
    this.#intervals.set(timer, { due: this.#now + every, every, call });
    return timer;
  };

  readonly clearInterval = (timer: object): void => void this.#intervals.delete(timer);

  readonly now = (): number => this.#now;

  get isIdle(): boolean {
    return this.#intervals.size === 0;
  }

  pass(milliseconds: number): void {
    const end = this.#now + milliseconds;
    for (;;) {
      const [next] = [...this.#intervals.values()].sort((a, b) => a.due - b.due);
      if (next === undefined || next.due > end) break;
      this.#now = next.due;
      next.due += next.every;
      next.call();
    }
    this.#now = end;
  }
}

/** Runs `work` while the global clock is a virtual one; nothing else may run meanwhile. */
async function inVirtualTime(work: (time: VirtualTime) => Promise<void>): Promise<void> {
  const time = new VirtualTime();
  const { setInterval, clearInterval } = globalThis;
  Object.assign(globalThis, { setInterval: time.setInterval, clearInterval: time.clearInterval });
  performance.now = time.now;
  try {
    await work(time);
  } finally {
    Object.assign(globalThis, { setInterval, clearInterval });
    // This uncovers the prototype's `now` again.
    Reflect.deleteProperty(performance, "now");
  }
}

export const memory: Fuzzed<BrokerProgram> = {
  name: "memory",
  program: brokerProgram(
    { publish: 6, read: 6, connect: 5, leave: 2, pass: 2, end: 1, turn: 3 },
    { length: 60, maxAge: 400 },
  ),
  check: (program) =>
    inVirtualTime(async (time) => {
      const subject: Subject = {
        open: (history) => memoryBroker({ history }),
        now: time.now,
        pass: async (milliseconds) => time.pass(milliseconds),
        // Until woken subscribers have read, a channel may hold twice as many.
        surplus: program.maxEvents,
        patience: 1_000,
      };
      await checkBroker(subject, program);
      if (!time.isIdle) throw new Error("A timer of the closed broker is left.");
    }),
  abreast: 1,
};
