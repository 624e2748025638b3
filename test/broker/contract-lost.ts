import type { HistoryOptions, ServerSentEvent } from "express-event-source";
import { describe, expect, it, onTestFinished } from "vitest";
import type { Broker } from "express-event-source";
import { read } from "./contract.js";
import { Gate } from "../support/stage.js";

/** Two brokers on one store, as in two processes. */
export interface SharedStore {
  readonly producing: Broker;
  readonly other: Broker;
  /** Takes the store away from the producing broker, and from nobody else. */
  cut(): void | Promise<void>;
  /** What the producing broker asks is done, but it gets no reply. Resolves with the first that it did not get. */
  deafen(): Promise<void>;
  restore(): void | Promise<void>;
  /** What a flush, or a failover to a replica that lagged, does to a channel. */
  forget(channel: string): Promise<void>;
}

const lease = 1_000;
/** What DESIGN.md allows, and time for a busy machine. */
const limit = lease + 2_000 + 7_000;

/** What is promised where a store is shared by processes, one of which may die or be cut off. */
export function lostContract(share: (history?: HistoryOptions) => Promise<SharedStore>): void {
  const open = async (history?: HistoryOptions): Promise<SharedStore> => {
    const store = await share(history);
    onTestFinished(async () => {
      await store.restore();
      await Promise.all([store.producing.close(), store.other.close()]);
    });
    return store;
  };

  /** Says "first", then waits for `gate` or its signal, then says "second". */
  function haltingSource() {
    const gate = new Gate();
    const heard = new Gate<unknown>();
    async function* source({ signal }: { signal: AbortSignal }): AsyncGenerator<ServerSentEvent> {
      signal.addEventListener("abort", () => heard.open(signal.reason));
      yield { data: "first" };
      await gate.opened;
      yield { data: "second" };
    }
    return { source, gate, reason: heard.opened };
  }

  const names = async (broker: Broker, channel = "a"): Promise<unknown[]> => {
    const events = await (await read(broker, channel, { from: "start" })).rest();
    return events.map(({ event, data }) => event ?? data);
  };

  describe("two processes", () => {
    it("have one producer between them", async () => {
      const { producing, other } = await open();
      const gate = new Gate();
      const runs = await Promise.all(
        Array.from({ length: 20 }, (_, n) =>
          (n % 2 === 0 ? producing : other).produce("a", async function* () {
            yield { data: "once" };
            await gate.opened;
          }),
        ),
      );
      gate.open();
      const held = runs.filter((run) => run !== undefined);
      expect(held.length).toBe(1);
      expect(await held[0]?.done).toBe("completed");
      expect(await names(other)).toEqual(["once"]);
    });

    it("do not wait for a store that is away to claim a channel for a broker that is closed", async () => {
      const { producing, cut } = await open();
      await cut();
      const claiming = producing.produce("a", () => [], { lease: 600_000 });
      await Promise.all([
        expect(claiming).rejects.toMatchObject({ code: "ERR_BROKER_UNAVAILABLE" }),
        producing.close(),
      ]);
    });

    it("have a producer whose claim was carried out, and the reply lost", async () => {
      const store = await open();
      await store.producing.produce("before", () => []);
      const unheard = store.deafen();
      const claiming = store.producing.produce("a", () => [{ data: "answer" }]);
      await unheard;
      await store.restore();
      expect(await (await claiming)?.done).toBe("completed");
      expect(await names(store.other)).toEqual(["answer"]);
    });

    it("stop each other's producers", async () => {
      const { producing, other } = await open();
      const { source, reason } = haltingSource();
      const run = await producing.produce("a", source);
      const reader = await read(other, "a", { from: "start" });
      await reader.take(1);
      expect(await other.stop("a")).toBe(true);
      expect(await reason).toBe("stopped");
      expect(await run?.done).toBe("stopped");
      expect(await reader.rest()).toEqual([]);
      expect(await other.stop("a")).toBe(false);
    });

    it("see a producer through a silence of several leases", async () => {
      const { producing, other } = await open();
      const { source, gate } = haltingSource();
      // It ends where the machine stands still for two thirds of it, which a busy one may do for most of a second.
      const longer = 2 * lease;
      const run = await producing.produce("a", source, { lease: longer });
      const everything = names(other);
      await new Promise((resolve) => setTimeout(resolve, 2.5 * longer));
      expect(await other.produce("a", () => [])).toBeUndefined();
      gate.open();
      expect(await run?.done).toBe("completed");
      expect(await everything).toEqual(["first", "second"]);
    });
  });

  describe("a producer that is cut off for longer than its lease", () => {
    it("is lost: one `lost` and the end, however many wait for it; it writes nothing more", async () => {
      const store = await open();
      const { producing, other } = store;
      const { source, gate, reason } = haltingSource();
      const run = await producing.produce("a", source, { lease });
      const first = await read(other, "a", { from: "start" });
      await first.take(1);
      const waiting = Array.from({ length: 5 }, () => names(other));
      const begun = performance.now();
      await store.cut();
      for (const answer of [(await first.rest()).map(({ event }) => event), ...(await Promise.all(waiting))])
        expect(answer.filter((each) => each !== "first")).toEqual(["lost"]);
      expect(performance.now() - begun).toBeLessThan(limit);
      expect(await reason).toBe("lost");
      expect(await run?.done).toBe("lost");
      await store.restore();
      gate.open();
      expect(await other.stop("a")).toBe(false);
      expect(await other.produce("a", () => [])).toBeUndefined();
      expect(await names(other)).toEqual(["first", "lost"]);
    });

    it("is lost for those who come later, too, where nobody was there to notice", async () => {
      const store = await open();
      const { source } = haltingSource();
      const run = await store.producing.produce("a", source, { lease });
      await (await read(store.other, "a", { from: "start" })).take(1).then(() => store.cut());
      expect(await run?.done).toBe("lost");
      expect(await names(store.other)).toEqual(["first", "lost"]);
    });
  });

  it("a lease that has run out is over for everybody, also where nobody has noticed", async () => {
    const store = await open();
    const { producing, other } = store;
    const calls: Record<string, () => Promise<unknown>> = {
      stop: () => other.stop("stop"),
      produce: () => other.produce("produce", () => []),
      publish: () => other.publish("publish", { data: "late" }).catch(({ code }) => code),
      end: () => other.end("end"),
    };
    const runs = await Promise.all(
      Object.keys(calls).map(async (channel) => {
        const run = await producing.produce(channel, haltingSource().source, { lease });
        await (await read(other, channel, { from: "start" })).take(1);
        return run;
      }),
    );
    await store.cut();
    for (const run of runs) expect(await run?.done).toBe("lost");
    // By the store's clock a lease ends a little later.
    await new Promise((resolve) => setTimeout(resolve, 200));
    const answers = await Promise.all(Object.values(calls).map((call) => call()));
    expect(answers).toEqual([false, undefined, "ERR_CHANNEL_ENDED", undefined]);
    for (const channel of Object.keys(calls)) expect(await names(other, channel)).toEqual(["first", "lost"]);
  });

  it("a producer that the store has forgotten is lost, and those who wait are told", async () => {
    const { producing, other, forget } = await open();
    const { source, reason } = haltingSource();
    const run = await producing.produce("a", source, { lease });
    const reader = await read(other, "a", { from: "start" });
    await reader.take(1);
    await forget("a");
    expect(await run?.done).toBe("lost");
    expect(await reason).toBe("lost");
    expect((await reader.rest()).map(({ event }) => event)).toEqual(["gap", "lost"]);
    expect((await names(other)).at(-1)).toBe("lost");
  });

  describe("a producer that is cut off for less than its lease", () => {
    it("goes on, and each of its events is stored once", async () => {
      const store = await open();
      const items = new Gate();
      const run = await store.producing.produce(
        "a",
        async function* () {
          yield { data: 0 };
          await items.opened;
          for (let data = 1; data < 100; data++) yield { data };
        },
        { lease: 10_000 },
      );
      const everything = names(store.other);
      await (await read(store.other, "a", { from: "start" })).take(1);
      items.open();
      await store.cut();
      await new Promise((resolve) => setTimeout(resolve, 700));
      await store.restore();
      expect(await run?.done).toBe("completed");
      expect(await everything).toEqual(Array.from({ length: 100 }, (_, n) => n));
    });
  });
}
