import { type Broker, type HistoryOptions, memoryBroker } from "express-event-source";
import { afterEach, beforeEach, vi } from "vitest";
import { openBroker, type Subject } from "../broker/contract.js";

/** The memory broker as the contract sees it; its events age in virtual time. */
export const memory: Subject = {
  open: (history) => memoryBroker({ history }),
  pass: async (milliseconds) => void (await vi.advanceTimersByTimeAsync(milliseconds)),
  runs: 100,
};

export function useVirtualAge(): void {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });
}

/** A memory broker until the end of the test. */
export function openMemory(history?: HistoryOptions): Promise<Broker> {
  return openBroker(memory, history);
}
