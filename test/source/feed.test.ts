import { describe, expect, it } from "vitest";
import { isTurnSpent } from "../../src/runtime/turn.js";
import { Feed } from "../../src/source/feed.js";

/** Numbers that are put in by hand. */
class Numbers extends Feed<number> {
  isOver = false;
  error: Error | undefined;
  readonly #held: number[] = [];

  put(...numbers: number[]): void {
    this.#held.push(...numbers);
    this.wake();
  }

  read(): IteratorResult<number, undefined> | undefined {
    const { error } = this;
    if (this.isOver) return { done: true, value: undefined };
    if (error !== undefined) throw error;
    const value = this.#held.shift();
    return value === undefined ? undefined : { done: false, value };
  }

  end(): void {
    this.isOver = true;
    this.wake();
  }
}

describe("a feed", () => {
  it("gives several calls of next() their items in order, whenever those come", async () => {
    const feed = new Numbers();
    feed.put(1);
    const results = Promise.all([feed.next(), feed.next(), feed.next(), feed.next()]);
    feed.put(2);
    feed.put(3, 4, 5);
    expect((await results).map(({ value }) => value)).toEqual([1, 2, 3, 4]);
    expect(await feed.next()).toEqual({ done: false, value: 5 });
  });

  it("ends all the calls that wait when it is returned from, and the later ones", async () => {
    const feed = new Numbers();
    const results = Promise.all([feed.next(), feed.next()]);
    expect(await feed.return()).toEqual({ done: true, value: undefined });
    expect((await results).map(({ done }) => done)).toEqual([true, true]);
    expect((await feed.next()).done).toBe(true);
  });

  it("rejects one call with what read() throws, and is over", async () => {
    const feed = new Numbers();
    const [first, second] = [feed.next(), feed.next()];
    feed.error = new Error("no more");
    feed.wake();
    await expect(first).rejects.toThrow("no more");
    expect((await second).done).toBe(true);
  });

  it("gives its first answer at once, and the next one when the process has had a turn", async () => {
    const feed = new Numbers();
    feed.put(1, 2);
    isTurnSpent();
    for (const until = performance.now() + 10; performance.now() < until;);
    expect(isTurnSpent()).toBe(true);
    const answers: unknown[] = [];
    const both = Promise.all([feed.next().then((answer) => answers.push(answer)), feed.next()]);
    let hasTurned = false;
    setImmediate(() => (hasTurned = true));
    await new Promise((resolve) => process.nextTick(resolve));
    expect(answers).toEqual([{ done: false, value: 1 }]);
    expect((await both)[1]).toEqual({ done: false, value: 2 });
    expect(hasTurned).toBe(true);
  });

  it("calls who waits once, and holds nobody after that", () => {
    const feed = new Numbers();
    let calls = 0;
    feed.wait({ wake: () => (calls += 1) });
    feed.wake();
    feed.wake();
    expect(calls).toBe(1);
  });

  it("can be looped over, and left", async () => {
    const feed = new Numbers();
    feed.put(1, 2, 3);
    const seen: number[] = [];
    for await (const number of feed) {
      seen.push(number);
      if (number === 2) break;
    }
    expect(seen).toEqual([1, 2]);
    expect(feed.isOver).toBe(true);
  });
});
