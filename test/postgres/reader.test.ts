import { expect, it, onTestFinished, vi } from "vitest";
import type { ChannelStatus } from "../../src/postgres/channel-status.js";
import { ChannelCursor } from "../../src/postgres/cursor.js";
import type { Place } from "../../src/postgres/place.js";
import { Reader } from "../../src/postgres/reader.js";
import { Gate, turn } from "../support/stage.js";

// A database that is away is asked again in the next turn.
vi.mock("../../src/runtime/backoff.js", () => ({ backOff: () => new Promise(setImmediate) }));

const maxAge = 10_000;

/**
 * A reader of a database that answers every question about channels with the status that `answer` resolves with, or
 * that they do not exist.
 */
function open(answer: () => Promise<ChannelStatus | undefined>, interval = 600_000, clock = () => 1): Reader {
  const results = async (tails: unknown[]) => {
    const status = await answer();
    return tails.map(() => ({ status, isGone: false, entries: [], error: undefined }));
  };
  const store = {
    history: { maxEvents: 10, maxAge },
    timeout: 1000,
    read: results,
    check: async (tails: unknown[]) => ({ clock: clock(), results: await results(tails), hasMore: false }),
    onDrained: () => false,
  };
  const reader = new Reader(store as never, { run: async () => [] } as never, undefined, interval);
  onTestFinished(() => reader.close());
  return reader;
}

const status: ChannelStatus = {
  run: "a.1",
  priorRun: undefined,
  since: 0,
  last: 0,
  isEnded: false,
  production: "none",
  born: 25_000,
};

function cursorOf(reader: Reader, place: Place): ChannelCursor {
  return new ChannelCursor(reader, "c", place, { place, status: undefined }, false);
}

it("answers what it is asked just when it comes to rest", async () => {
  const reader = open(async () => ({ ...status, last: 1, isEnded: true }), 100);
  const tail = reader.join("c", { place: { run: "a.1", n: 1 }, status: undefined });
  // The channel has ended, so its tail is in use no more, and nothing else is read.
  await vi.waitFor(() => expect(reader.find("c")).toBeUndefined(), 20_000);
  // The next check falls due while the process stands still.
  const until = performance.now() + 120;
  while (performance.now() < until);
  await reader.refresh(tail);
});

it("stops asking a database that is away when nobody needs it any more", async () => {
  let asked = 0;
  const reader = open(async () => {
    asked++;
    throw new Error("away");
  });
  const tail = reader.join("c", { place: { asOf: 1_000 }, status: undefined });
  await vi.waitFor(() => expect(asked).toBeGreaterThan(5), 20_000);
  reader.leave(tail);
  for (let turns = 0; turns < 5; turns++) await turn();
  const before = asked;
  for (let turns = 0; turns < 50; turns++) await turn();
  expect(asked).toBe(before);
});

it("reports no gap to a subscription that began just before its channel, beside one that has waited for long", async () => {
  const gate = new Gate();
  const reader = open(() => gate.opened.then(() => status));
  const [early, late] = [cursorOf(reader, { asOf: 1_000 }), cursorOf(reader, { asOf: 20_000 })];
  expect([early.peek(), late.peek()]).toEqual([undefined, undefined]);
  gate.open();
  await vi.waitFor(() => expect(reader.find("c")?.status).toBeDefined(), 20_000);
  expect(late.peek()).toBeUndefined();
  await vi.waitFor(() => expect(early.peek()).toBe("gap"), 20_000);
});

it("reports no gap to a subscription that has waited for its channel for long, if the reader has looked for it", async () => {
  let [clock, found] = [1_000, undefined as ChannelStatus | undefined];
  const reader = open(
    async () => found,
    5,
    () => clock,
  );
  const waiting = cursorOf(reader, { asOf: clock });
  expect(waiting.peek()).toBeUndefined();
  for (clock of [8_000, 16_000, 24_000])
    await vi.waitFor(() => expect(reader.find("c")?.place).toEqual({ asOf: clock }), 20_000);
  found = status;
  await vi.waitFor(() => expect(reader.find("c")?.status).toBeDefined(), 20_000);
  expect(waiting.peek()).toBeUndefined();
  expect(waiting.place).toEqual({ run: status.run, n: 0 });
});
