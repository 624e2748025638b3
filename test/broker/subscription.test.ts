import type { PublishedEvent } from "express-event-source";
import { describe, expect, it } from "vitest";
import { checkSubscribeOptions } from "../../src/broker/checks.js";
import { type Cursor, Subscription, type SubscriptionHost } from "../../src/broker/subscription.js";
import type { Waiter } from "../../src/source/feed.js";

interface Entry {
  readonly at: number;
}

type Peeked = ReturnType<Cursor<Entry>["peek"]>;

/** A cursor that is told by hand what comes next. */
class Scripted implements Cursor<Entry> {
  readonly waiting = new Set<Waiter>();
  isReleased = false;
  place = 0;
  readonly #next: Peeked[];

  constructor(...next: Peeked[]) {
    this.#next = next;
  }

  put(...next: Peeked[]): void {
    this.#next.splice(0, this.#next[0] === "loading" ? 1 : 0, ...next);
    for (const waiter of this.waiting) waiter.wake();
  }

  peek(): Peeked {
    return this.#next[0] === "gap" ? this.#next.shift() : this.#next[0];
  }

  take(entry: Entry): void {
    this.place = entry.at;
    this.#next.shift();
  }

  wait(waiter: Waiter): void {
    this.waiting.add(waiter);
  }

  release(waiter: Waiter): void {
    this.waiting.delete(waiter);
    this.isReleased = true;
  }
}

function subscribe(...cursors: Scripted[]) {
  const host = {
    isClosed: false,
    compare: (a, b) => a.at - b.at,
    eventOf: (_entry, all): PublishedEvent => ({ id: all.map(({ place }) => place).join() }),
  } satisfies SubscriptionHost<Entry, Scripted>;
  const mutable: { isClosed: boolean } & SubscriptionHost<Entry, Scripted> = host;
  const subscription = new Subscription(mutable, { cursors, isMissing: false }, checkSubscribeOptions());
  const next = async () => {
    const { value } = await subscription.next();
    return value === undefined ? "over" : (value.id ?? value.event);
  };
  return { subscription, next, host: mutable };
}

describe("a subscription to several channels", () => {
  it("gives the oldest entry first, with an id that is a place in all of them", async () => {
    const { next } = subscribe(new Scripted({ at: 2 }, "end"), new Scripted({ at: 1 }, { at: 3 }, "end"));
    expect([await next(), await next(), await next(), await next()]).toEqual(["0,1", "2,1", "2,3", "over"]);
  });

  it("gives nothing before an entry that is loading, which may be older; but tells a gap at once", async () => {
    const slow = new Scripted("loading");
    const { next } = subscribe(new Scripted("gap", { at: 2 }, "end"), slow);
    expect(await next()).toBe("gap");
    const pending = next();
    slow.put({ at: 1 }, "end");
    expect([await pending, await next(), await next()]).toEqual(["0,1", "2,1", "over"]);
  });

  it("makes one gap of those that are found together", async () => {
    const { next } = subscribe(new Scripted("gap", { at: 1 }, "end"), new Scripted("gap", "gap", "end"));
    expect([await next(), await next(), await next()]).toEqual(["gap", "1,0", "over"]);
  });

  it("waits once in each channel, however often it is woken for nothing, and releases all of them", async () => {
    const cursors = [new Scripted(), new Scripted()];
    const { next, subscription } = subscribe(...cursors);
    const pending = next();
    for (let n = 0; n < 5; n++) cursors[0]?.put();
    expect(cursors.map(({ waiting }) => waiting.size)).toEqual([1, 1]);
    await subscription.return();
    expect(await pending).toBe("over");
    expect(cursors.map(({ waiting, isReleased }) => [waiting.size, isReleased])).toEqual([
      [0, true],
      [0, true],
    ]);
  });

  it("is over when its broker has closed, whatever is left", async () => {
    const cursor = new Scripted({ at: 1 });
    const { next, host } = subscribe(cursor);
    host.isClosed = true;
    expect(await next()).toBe("over");
    expect(cursor.isReleased).toBe(true);
  });

  it("ends with the error that one of its cursors throws", async () => {
    const failing = new Scripted();
    failing.peek = () => {
      throw new Error("unreadable");
    };
    const other = new Scripted({ at: 1 });
    const { next } = subscribe(other, failing);
    await expect(next()).rejects.toThrow("unreadable");
    expect(await next()).toBe("over");
    expect(other.isReleased).toBe(true);
  });
});
