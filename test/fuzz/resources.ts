import { setTimeout as sleep } from "node:timers/promises";

/** How long what has ended may take to be gone, in milliseconds. */
const patience = 5_000;

/** A call tells, as soon as nothing is left over or its patience is over, which timers, sockets and the like there are that were not there before. */
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

/** From now on a timer that would let the process end counts like any other: Node does not tell of those. */
export function countAllTimers(): void {
  const timer = setTimeout(() => {}, 0);
  clearTimeout(timer);
  const prototype = Object.getPrototypeOf(timer) as NodeJS.Timeout;
  prototype.unref = function (this: NodeJS.Timeout) {
    return this;
  };
}
