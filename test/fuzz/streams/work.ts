/** How long the sources of all programs together may work between two turns of the event loop, in milliseconds. */
export const limit = 100;

/** The least that a slow item, and any other item, can cost, in milliseconds. */
const costs = { slow: 1, other: 0.002 };

/**
 * The work since the event loop last turned. Each item counts as the least that it can cost, not as what a clock
 * measures, so a machine that is busy with other things makes the sum smaller, never larger.
 */
let sum = 0;

/**
 * Does the work of one item.
 *
 * @returns false if the event loop is blocked: the source must then end, or the loop might never turn again
 */
export function work(isSlow: boolean): boolean {
  if (sum === 0) setImmediate(() => (sum = 0));
  sum += isSlow ? costs.slow : costs.other;
  const end = performance.now() + costs.slow;
  while (isSlow && performance.now() < end);
  return sum <= limit;
}
