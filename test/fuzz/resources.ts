import { setTimeout as sleep } from "node:timers/promises";

/** How long the resources of something that has ended may take to go away, in milliseconds. */
const patience = 5_000;

/**
 * Returns a function that tells which kinds of resources (timers, sockets and so on) have grown in number since. It
 * resolves as soon as nothing is left over, or when its patience ends.
 */
export function watchResources(): () => Promise<string[]> {
  const before = count();
  const left = (): string[] => [...count()].filter(([name, n]) => n > (before.get(name) ?? 0)).map(([name]) => name);
  return async () => {
    const end = performance.now() + patience;
    while (left().length > 0 && performance.now() < end) await sleep(20);
    return left();
  };
}

function count(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of process.getActiveResourcesInfo()) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}

/** Makes a timer's `unref` do nothing from now on, because Node does not list unreferenced timers. */
export function countAllTimers(): void {
  const timer = setTimeout(() => {}, 0);
  clearTimeout(timer);
  const prototype = Object.getPrototypeOf(timer) as NodeJS.Timeout;
  prototype.unref = function (this: NodeJS.Timeout) {
    return this;
  };
}
