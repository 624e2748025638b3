import { setTimeout as sleep } from "node:timers/promises";

/**
 * Waits after so many failures in a row: from 50 ms to 2 s, half of it by chance, so that the processes of a cluster do
 * not come back in one moment. Returns at once where `signal` aborts.
 */
export function backOff(failures: number, signal?: AbortSignal): Promise<void> {
  const delay = Math.min(2000, 50 * 2 ** failures) * (0.5 + Math.random() / 2);
  return sleep(delay, undefined, signal === undefined ? {} : { signal }).catch(() => {});
}
