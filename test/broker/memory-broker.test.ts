import { memoryBroker } from "express-event-source";
import { afterEach, beforeEach, vi } from "vitest";
import { brokerContract, type Subject } from "./contract.js";
import { interleavings } from "./interleavings.js";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

const memory: Subject = {
  open: (history) => memoryBroker({ history }),
  pass: async (milliseconds) => void (await vi.advanceTimersByTimeAsync(milliseconds)),
  runs: 200,
};

brokerContract("memoryBroker", memory);
interleavings("memoryBroker: loses nothing in silence where events age and channels are forgotten", memory, { isAging: true });
