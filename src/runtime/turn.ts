/**
 * Fair shares of the event loop.
 *
 * Promises that are ready at once run before the loop turns. A source that is always ready would therefore keep timers
 * and all other connections waiting for ever. To prevent that, the streams of a process share one allowance for each
 * turn of the loop. A stream that finds the allowance spent joins a queue, which is served in order. It is served one
 * stream at a time: if three hundred streams were woken together, each would handle one item before any of them looked
 * at the clock.
 */

// Captured when the module loads: even under fake timers the loop turns, and work takes real time.
const { setImmediate } = globalThis;
const now = performance.now.bind(performance);

/**
 * How long all streams together may work in one turn, in milliseconds. Node accepts one new connection in each turn, so
 * this also limits how many a saturated server accepts in a second. Longer turns were not faster in any measurement.
 */
const allowance = 4;

/** How long one stream may work while others wait, in milliseconds: enough to fill a few batches. */
const slice = 1;

/**
 * The most items between two looks at the clock. A look costs a twentieth of an event or a fifth of a token, so it is not
 * taken after each item while items are fast. Each turn and each slice begins with a look after each item.
 */
const maxStride = 16;

/** How long the items between two looks may take to count as fast, in milliseconds. */
const fast = 0.05;

let hasBegun = false;
let began = 0;
let sliceBegan = 0;
let lookedAt = 0;
let stride = 1;
/** How many more items need no look. */
let ahead = 0;

/** The callbacks that wait, first come, first served: `queue` from `position` on, then `newcomers`. */
let queue: (() => void)[] = [];
let position = 0;
let newcomers: (() => void)[] = [];
/** Whether the one whose turn has come may still have to work: a promise tells it so after all ticks. */
let isServing = false;

/** The callbacks that come after all who wait. */
const last = new Set<() => void>();

function begin(): void {
  if (hasBegun) return;
  hasBegun = true;
  began = now();
  beginSlice(began);
  // Immediates run before timers. If the allowance is spent, wait for a second immediate, so that timers run in
  // between.
  setImmediate(() => (isAllowanceSpent() ? setImmediate(end) : end()));
}

function beginSlice(at: number): void {
  sliceBegan = lookedAt = at;
  stride = 1;
  ahead = 0;
}

function end(): void {
  hasBegun = false;
  if (isAnybodyWaiting()) {
    begin();
    serveNext();
  }
}

function isAnybodyWaiting(): boolean {
  return position < queue.length || newcomers.length > 0;
}

function isAllowanceSpent(): boolean {
  return now() - began >= allowance;
}

function serveNext(): void {
  isServing = false;
  // Replaced even if the allowance is spent: a queue that has been served still refers to streams that may be gone.
  if (position === queue.length) {
    queue = newcomers;
    newcomers = [];
    position = 0;
  }
  const next = queue[position];
  if (next === undefined) {
    const callbacks = [...last];
    last.clear();
    for (const callback of callbacks) callback();
    return;
  }
  // If the allowance is spent, `end` continues with the rest of the queue.
  if (isAllowanceSpent()) return;
  position += 1;
  beginSlice(now());
  isServing = true;
  next();
  // The tick runs when no microtask is left. By then this stream has done what it can, and its frames are being
  // written.
  queueMicrotask(() => process.nextTick(serveNext));
}

/** Whether the caller must yield to the event loop, or to a stream that waits, before it goes on. */
export function isTurnSpent(): boolean {
  if (!hasBegun) {
    begin();
    return false;
  }
  if (ahead > 0) {
    ahead -= 1;
    return false;
  }
  const at = now();
  if (at - began >= allowance || (isAnybodyWaiting() && at - sliceBegan >= slice)) return true;
  stride = at - lookedAt < fast ? Math.min(2 * stride, maxStride) : 1;
  lookedAt = at;
  ahead = stride - 1;
  return false;
}

/** Calls `callback`, which must not throw, after all earlier callbacks, in a turn whose allowance is not spent. */
export function whenTurnComes(callback: () => void): void {
  begin();
  newcomers.push(callback);
}

/**
 * Calls `callback`, which must not throw, when nobody waits for a turn, or has got one that is still to be used.
 * Somebody waits for as long as there is a stream that is always ready, so whoever has no more use for the call must
 * `cancel` it.
 */
export function whenNobodyWaits(callback: () => void): void {
  if (isServing || isAnybodyWaiting()) last.add(callback);
  else callback();
}

/** Takes back `whenNobodyWaits`. */
export function cancel(callback: () => void): void {
  last.delete(callback);
}

/** Resolves when the caller's turn has come. */
export function nextTurn(): Promise<void> {
  return new Promise(whenTurnComes);
}

/** How many items are served before their frames are written; then a turn's time includes the writing. */
const together = 32;

/** Calls `work`, which must not throw, for as many items as the turn allows, and for the others in later turns. */
export function forEachInTurn<T>(items: readonly T[], work: (item: T) => void): void {
  serveFrom(items, work, 0);
}

function serveFrom<T>(items: readonly T[], work: (item: T) => void, start: number): void {
  const end = Math.min(start + together, items.length);
  for (let n = start; n < end; n++) {
    if (isTurnSpent()) return whenTurnComes(() => serveInPlace(items, work, n));
    work(items[n] as T);
  }
  if (end < items.length) process.nextTick(() => serveFrom(items, work, end));
}

/**
 * Called by `serveNext`. The items keep their one place in the queue until all are served, as if each had a place of
 * its own: with one slice for all of them, thousands of clients would get as much time as a single stream.
 */
function serveInPlace<T>(items: readonly T[], work: (item: T) => void, start: number): void {
  const end = Math.min(start + together, items.length);
  let n = start;
  do {
    work(items[n++] as T);
    sliceBegan = now();
  } while (n < end && sliceBegan - began < allowance);
  if (n < items.length) queue[--position] = () => serveInPlace(items, work, n);
}

/** Calls `callback` after all immediates that are already queued; `nextTurn` may resolve earlier. */
export function afterOneTurn(callback: () => void): void {
  setImmediate(callback);
}
