import { setTimeout as sleep } from "node:timers/promises";

/**
 * Waits before another attempt. The delay doubles with each failure in a row, from 50 ms to 2 s. A random part of it,
 * up to half, is left out, so that the processes of a cluster do not all come back at the same moment. Resolves at once
 * when `signal` aborts.
 */
export function backOff(failures: number, signal?: AbortSignal): Promise<void> {
  const delay = Math.min(2000, 50 * 2 ** failures) * (0.5 + Math.random() / 2);
  return sleep(delay, undefined, signal === undefined ? {} : { signal }).catch(() => {});
}
