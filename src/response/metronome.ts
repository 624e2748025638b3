/**
 * Periodic calls for many thousand streams at the price of one timer for each interval.
 *
 * All beats of one interval are as long, so those that start later fall due later: a queue is in
 * order by itself, and one timer for its head serves everyone. Streams that began together (after
 * a restart, say) fall due together; they are called in batches with a turn of the event loop
 * between them, so that no burst holds anyone up.
 */
const metronomes = new Map<number, Metronome>();

const batch = 200;

interface Beat {
  due: number;
  readonly call: () => void;
}

class Metronome {
  readonly #interval: number;
  /** In the order in which they fall due. */
  readonly #beats = new Set<Beat>();
  #cancel: (() => void) | undefined;

  constructor(interval: number) {
    this.#interval = interval;
  }

  add(call: () => void): Beat {
    const beat = { due: performance.now() + this.#interval, call };
    this.#beats.add(beat);
    if (this.#cancel === undefined) this.#schedule(this.#interval);
    return beat;
  }

  delete(beat: Beat): void {
    if (!this.#beats.delete(beat) || this.#beats.size > 0) return;
    this.#cancel?.();
    this.#cancel = undefined;
    metronomes.delete(this.#interval);
  }

  #schedule(delay: number): void {
    if (delay <= 0) {
      const immediate = setImmediate(this.#run);
      this.#cancel = () => clearImmediate(immediate);
    } else {
      const timeout = setTimeout(this.#run, delay);
      this.#cancel = () => clearTimeout(timeout);
    }
  }

  readonly #run = (): void => {
    const now = performance.now();
    let called = 0;
    for (const beat of this.#beats) {
      // Timers may fire a fraction of a millisecond early.
      if (beat.due > now + 1 || called === batch) break;
      called += 1;
      this.#beats.delete(beat);
      // Counted from when it was due, not from now: the period does not drift, and a loop that was held up skips.
      beat.due += this.#interval * Math.max(1, Math.ceil((now - beat.due) / this.#interval));
      this.#beats.add(beat);
      beat.call();
    }
    const [head] = this.#beats;
    if (head !== undefined) this.#schedule(head.due - performance.now());
  };
}

/**
 * Calls `call` every `interval` milliseconds, first after one interval, until the function it
 * returns is called.
 */
export function every(interval: number, call: () => void): () => void {
  let metronome = metronomes.get(interval);
  if (metronome === undefined) metronomes.set(interval, (metronome = new Metronome(interval)));
  const beat = metronome.add(call);
  return () => metronome.delete(beat);
}
