/** What the sources of all programs may do together between two turns of the event loop, in milliseconds. */
export const limit = 100;

/** What an item costs at least, in milliseconds: one that takes long, and any other. */
const costs = { slow: 1, other: 0.002 };

/**
 * The work since the event loop last turned. Each item counts with the least that it can cost, not with what a clock says:
 * a machine that is busy with other things makes the sum smaller, never larger.
 */
let sum = 0;

/**
 * Does the work of one item.
 *
 * @returns false where the event loop is blocked: a source must then end, or the loop might never turn again
 */
export function work(isSlow: boolean): boolean {
  if (sum === 0) setImmediate(() => (sum = 0));
  sum += isSlow ? costs.slow : costs.other;
  const end = performance.now() + costs.slow;
  while (isSlow && performance.now() < end);
  return sum <= limit;
}
