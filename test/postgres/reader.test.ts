import { expect, it, onTestFinished, vi } from "vitest";
import type { ChannelStatus } from "../../src/postgres/channel-status.js";
import { ChannelCursor } from "../../src/postgres/cursor.js";
import type { Place } from "../../src/postgres/place.js";
import { Reader } from "../../src/postgres/reader.js";
import { Gate } from "../support/stage.js";

const maxAge = 10_000;

/** A reader of a database that answers every question about a channel with this status, once `gate` is open. */
function open({ status, interval = 600_000, gate }: { status: ChannelStatus; interval?: number; gate?: Gate }): Reader {
  const results = (tails: unknown[]) => tails.map(() => ({ status, isGone: false, entries: [], error: undefined }));
  const store = {
    history: { maxEvents: 10, maxAge },
    timeout: 1000,
    read: async (tails: unknown[]) => {
      await gate?.opened;
      return results(tails);
    },
    check: async (tails: unknown[]) => ({ clock: 1, results: results(tails), hasMore: false }),
    onDrained: () => false,
  };
  const reader = new Reader(store as never, { run: async () => [] } as never, undefined, interval);
  onTestFinished(() => reader.close());
  return reader;
}

const ended: ChannelStatus = {
  run: "a.1",
  priorRun: undefined,
  since: 0,
  last: 1,
  isEnded: true,
  production: "over",
  born: 0,
};

it("answers what it is asked just when it comes to rest", async () => {
  const reader = open({ status: ended, interval: 100 });
  const tail = reader.join("c", { place: { run: "a.1", n: 1 }, status: undefined });
  // The channel has ended, so the tail has been taken out, and nothing else is read.
  await vi.waitFor(() => expect(reader.find("c")).toBeUndefined());
  // The next check is due while the process stands still.
  const until = performance.now() + 120;
  while (performance.now() < until);
  await reader.refresh(tail);
});

it("reports no gap to a subscription that began just before its channel, beside one that has waited for long", async () => {
  const gate = new Gate();
  const reader = open({ status: { ...ended, last: 0, isEnded: false, production: "none", born: 25_000 }, gate });
  const cursor = (place: Place) => new ChannelCursor(reader, "c", place, { place, status: undefined }, false);
  const [early, late] = [cursor({ asOf: 1_000 }), cursor({ asOf: 20_000 })];
  expect([early.peek(), late.peek()]).toEqual([undefined, undefined]);
  gate.open();
  await vi.waitFor(() => expect(reader.find("c")?.status).toBeDefined());
  expect(late.peek()).toBeUndefined();
  await vi.waitFor(() => expect(early.peek()).toBe("gap"));
});
