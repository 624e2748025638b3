import { subscribe as onDiagnostics, unsubscribe as offDiagnostics } from "node:diagnostics_channel";
import type { Broker, HistoryOptions, ProduceOptions, Production, ServerSentEvent } from "express-event-source";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { failOnAbort, Gate, until } from "../support/stage.js";
import { lostContract, type SharedStore } from "./contract-lost.js";
import { read, tooMany } from "./contract.js";
import { dataOf } from "./reader.js";

/** What a broker has to bring to be held to the contract of `produce` and `stop`. */
export interface ProducingSubject {
  /** A broker with an empty store of its own. */
  open(history?: HistoryOptions): Broker | Promise<Broker>;
  /** Lets the store get older. */
  pass(milliseconds: number): Promise<void>;
  /** Two brokers on one store, as in two processes, where a store can be shared. */
  share?(history?: HistoryOptions): Promise<SharedStore>;
}

type Source = () => AsyncIterable<ServerSentEvent> | Iterable<ServerSentEvent>;

const lastWord = { event: "failed", data: "" };

/** The events of an answer as they are compared: data, or the name of an event without any. */
const words = async (broker: Broker, channel: string): Promise<unknown[]> => {
  const events = await (await read(broker, channel, { from: "start" })).rest();
  return events.map((event) => (event.event !== undefined ? event.event : event.data));
};

/** Collects what is announced about `channel`. */
function announced(channel: string): unknown[] {
  const errors: unknown[] = [];
  const listen = (message: unknown) => {
    const { channel: name, error } = message as { channel?: string; error: unknown };
    if (name === channel) errors.push(error);
  };
  onDiagnostics("express-event-source:error", listen);
  onTestFinished(() => void offDiagnostics("express-event-source:error", listen));
  return errors;
}

/** A source that says `count` words, and then waits for its signal. */
function endless(count = 1) {
  const seen = { returns: 0, signal: undefined as AbortSignal | undefined };
  async function* source({ signal }: { signal: AbortSignal }): AsyncGenerator<ServerSentEvent> {
    seen.signal = signal;
    try {
      for (let n = 0; n < count; n++) yield { data: n };
      await failOnAbort(signal);
    } finally {
      seen.returns += 1;
    }
  }
  return { source, seen };
}

/** The promises of `produce` and `stop` that hold whatever keeps the events. */
export function produceContract(name: string, subject: ProducingSubject): void {
  const open = async (history?: HistoryOptions): Promise<Broker> => {
    const broker = await subject.open(history);
    onTestFinished(() => broker.close());
    return broker;
  };

  const begin = async (
    broker: Broker,
    source: Parameters<Broker["produce"]>[1],
    options?: ProduceOptions,
  ): Promise<Production> => {
    const run = await broker.produce("a", source, options);
    if (run === undefined) throw new Error("somebody else is the producer");
    return run;
  };

  describe(`${name}: the contract of producers`, () => {
    describe("a producer", () => {
      it("publishes each item when the one before is stored, then ends the channel", async () => {
        const broker = await open();
        const everything = (await read(broker, "a")).rest();
        const run = await begin(broker, async function* () {
          for (let n = 0; n < 50; n++) yield { data: n };
        });
        expect(await run.done).toBe("completed");
        const numbers = Array.from({ length: 50 }, (_, n) => n);
        expect(dataOf(await everything)).toEqual(numbers);
        expect(await words(broker, "a")).toEqual(numbers);
      });

      it.each<[string, Source | (() => Promise<Iterable<ServerSentEvent>>)]>([
        ["an array", () => [{ data: "one" }, { data: "two" }]],
        ["a promise of an array", () => Promise.resolve([{ data: "one" }, { data: "two" }])],
        [
          "a ReadableStream",
          () =>
            new ReadableStream<ServerSentEvent>({
              start(controller) {
                controller.enqueue({ data: "one" });
                controller.enqueue({ data: "two" });
                controller.close();
              },
            }),
        ],
      ])("takes %s", async (_name, source) => {
        const broker = await open();
        expect(await (await begin(broker, source)).done).toBe("completed");
        expect(await words(broker, "a")).toEqual(["one", "two"]);
      });

      it("is exactly one of 20 calls at once, and of those that come later", async () => {
        const broker = await open();
        const gate = new Gate();
        const source = vi.fn(async function* () {
          await gate.opened;
          yield { data: "once" };
        });
        const runs = await Promise.all(Array.from({ length: 20 }, () => broker.produce("a", source)));
        expect(await broker.produce("a", source)).toBeUndefined();
        gate.open();
        const [run, ...others] = runs.filter((each) => each !== undefined);
        expect(others).toEqual([]);
        expect(await run?.done).toBe("completed");
        expect(await broker.produce("a", source)).toBeUndefined();
        expect(source).toHaveBeenCalledTimes(1);
        expect(await words(broker, "a")).toEqual(["once"]);
      });

      it("publishes what is large", async () => {
        const broker = await open();
        const data = "x".repeat(2_000_000);
        expect(await (await begin(broker, () => [{ data: "before" }, { data }, { data: "after" }])).done).toBe(
          "completed",
        );
        expect(await words(broker, "a")).toEqual(["before", data, "after"]);
      });

      it("can claim a channel that has ordinary events, but none that has ended", async () => {
        const broker = await open();
        await broker.publish("a", { data: "question" });
        await (
          await begin(broker, () => [{ data: "answer" }])
        ).done;
        expect(await words(broker, "a")).toEqual(["question", "answer"]);
        await broker.end("b");
        expect(await broker.produce("b", () => [])).toBeUndefined();
      });

      it("is claimed once until the channel is forgotten", async () => {
        const broker = await open({ maxAge: 1_200 });
        await (
          await begin(broker, () => [{ data: 1 }])
        ).done;
        await subject.pass(300);
        expect(await broker.produce("a", () => [])).toBeUndefined();
        await subject.pass(2_500);
        expect(await (await begin(broker, () => [{ data: 2 }])).done).toBe("completed");
      });

      it("keeps its channel while it runs, whatever maxAge is", async () => {
        const broker = await open({ maxAge: 1_000 });
        const gate = new Gate();
        const run = await begin(broker, async function* () {
          yield { data: "old" };
          await gate.opened;
          yield { data: "new" };
        });
        await subject.pass(2_500);
        expect(await broker.produce("a", () => [])).toBeUndefined();
        await expect(broker.end("a")).rejects.toMatchObject({ code: "ERR_CHANNEL_PRODUCED" });
        gate.open();
        expect(await run.done).toBe("completed");
        expect((await words(broker, "a")).at(-1)).toBe("new");
      });

      it("lets others publish, but neither end the channel nor publish all of it", async () => {
        const broker = await open();
        const gate = new Gate();
        const run = await begin(broker, async function* () {
          await gate.opened;
          yield { data: "answer" };
        });
        await broker.publish("a", { data: "note" });
        const refused = { code: "ERR_CHANNEL_PRODUCED" };
        await expect(broker.end("a")).rejects.toMatchObject(refused);
        await expect(broker.publishAll("a", [{ data: "all" }])).rejects.toMatchObject(refused);
        gate.open();
        expect(await run.done).toBe("completed");
        expect(await words(broker, "a")).toEqual(["note", "all", "answer"]);
        await broker.end("a");
      });

      it('tells a subscriber from the "start" of a beginning that has been trimmed, and only then', async () => {
        const broker = await open({ maxEvents: 10 });
        await (
          await begin(broker, () => Array.from({ length: tooMany }, (_, data) => ({ data })))
        ).done;
        const events = dataOf(await (await read(broker, "a", { from: "start" })).rest());
        expect(events[0]).toBe("gap");
        expect(events.at(-1)).toBe(tooMany - 1);
        await (
          await broker.produce("b", () => [{ data: 0 }])
        )?.done;
        await (await read(broker, "b", { from: "start" })).expectRest(0);
      });
    });

    describe("a source that fails", () => {
      const boom = new Error("no more tokens");
      async function* failing(): AsyncGenerator<ServerSentEvent> {
        yield { data: "first" };
        throw boom;
      }

      it.each<[string, ProduceOptions | undefined, unknown[]]>([
        ["an event named failed", undefined, ["first", "failed"]],
        ["the event of onError", { onError: () => ({ event: "sorry", data: "" }) }, ["first", "sorry"]],
        ["nothing where onError says null", { onError: () => null }, ["first"]],
        ["the default where onError says nothing", { onError: () => undefined }, ["first", "failed"]],
        [
          "the default where onError throws",
          {
            onError: () => {
              throw new Error("onError failed");
            },
          },
          ["first", "failed"],
        ],
        ["the default where onError's event is refused", { onError: () => ({ data: { n: 1n } }) }, ["first", "failed"]],
        [
          "the default where onError returns a promise",
          { onError: (() => Promise.reject(new Error("late"))) as unknown as () => undefined },
          ["first", "failed"],
        ],
      ])("tells subscribers %s, then ends the channel", async (_name, options, expected) => {
        const broker = await open();
        const errors = announced("a");
        const run = await begin(broker, failing, options);
        await expect(run.done).rejects.toBe(boom);
        expect(errors[0]).toBe(boom);
        expect(await words(broker, "a")).toEqual(expected);
      });

      it("says nothing of its error by itself", async () => {
        const broker = await open();
        await (await begin(broker, failing)).done.catch(() => {});
        const events = await (await read(broker, "a", { from: "start" })).rest();
        expect({ ...events.at(-1), id: undefined }).toEqual({ ...lastWord, id: undefined });
      });

      it("is no unhandled rejection where nobody looks at done", async () => {
        const broker = await open();
        const unhandled = vi.fn();
        process.on("unhandledRejection", unhandled);
        onTestFinished(() => void process.off("unhandledRejection", unhandled));
        await begin(broker, failing);
        expect(await words(broker, "a")).toContain("failed");
        await new Promise((resolve) => void setImmediate(resolve));
        expect(unhandled).not.toHaveBeenCalled();
      });

      it.each<[string, () => unknown, string]>([
        ["returns nothing", () => undefined, "ERR_INVALID_SOURCE"],
        ["returns text", () => "text", "ERR_INVALID_SOURCE"],
        ["yields what is no event", () => ["text"], "ERR_INVALID_ITEM"],
        ["yields an event with an id", () => [{ id: 1, data: 1 }], "ERR_INVALID_FIELD"],
        ["yields what cannot be serialized", () => [{ data: { n: 1n } }], "ERR_UNSERIALIZABLE_DATA"],
      ])("%s: is told like any failure", async (_name, source, code) => {
        const broker = await open();
        const run = await begin(broker, source as Source);
        await expect(run.done).rejects.toMatchObject({ code });
        expect(await words(broker, "a")).toEqual(["failed"]);
      });

      it("is returned from, and its signal aborts, where one of its items is refused", async () => {
        const broker = await open();
        let signal: AbortSignal | undefined;
        const returned = vi.fn();
        const run = await begin(broker, async function* (producer) {
          signal = producer.signal;
          try {
            yield { data: { n: 1n } };
          } finally {
            returned();
          }
        });
        await expect(run.done).rejects.toMatchObject({ code: "ERR_UNSERIALIZABLE_DATA" });
        expect(returned).toHaveBeenCalledTimes(1);
        expect(signal?.aborted).toBe(true);
      });
    });

    describe("stop", () => {
      it("ends the channel, aborts the signal and returns from the source", async () => {
        const broker = await open();
        const { source, seen } = endless(3);
        const everything = (await read(broker, "a")).rest();
        const errors = announced("a");
        const run = await begin(broker, source);
        await until(() => seen.signal !== undefined);
        const reader = await read(broker, "a", { from: "start" });
        await reader.take(3);
        expect(await broker.stop("a")).toBe(true);
        expect(await run.done).toBe("stopped");
        expect(seen.signal?.reason).toBe("stopped");
        await until(() => seen.returns === 1);
        expect(dataOf(await everything)).toEqual([0, 1, 2]);
        expect(await reader.rest()).toEqual([]);
        // What the source throws then is no failure.
        expect(errors).toEqual([]);
      });

      it("publishes nothing of what comes later, also from a source that knows no signal", async () => {
        const broker = await open();
        const gate = new Gate();
        const asked = new Gate();
        let yielded = 0;
        const run = await begin(broker, async function* () {
          yield { data: yielded++ };
          asked.open();
          await gate.opened;
          yield { data: yielded++ };
          yield { data: yielded++ };
        });
        await asked.opened;
        expect(await broker.stop("a")).toBe(true);
        expect(await run.done).toBe("stopped");
        gate.open();
        await until(() => yielded === 2);
        expect(await words(broker, "a")).toEqual([0]);
      });

      it("comes before the claim or after it, never between", async () => {
        const broker = await open();
        for (let n = 0; n < 10; n++) {
          const claiming = broker.produce(`${n}`, endless().source);
          const isTold = await broker.stop(`${n}`);
          const run = await claiming;
          expect(await broker.stop(`${n}`)).toBe(!isTold);
          expect(await run?.done).toBe("stopped");
        }
      });

      it("reaches a producer that has just been claimed, and whose source says nothing", async () => {
        const broker = await open();
        const claiming = broker.produce("a", endless(0).source);
        while (!(await broker.stop("a")));
        const run = await claiming;
        expect(await run?.done).toBe("stopped");
      });

      it("reaches a source that is always ready", async () => {
        const broker = await open();
        const run = await begin(broker, function* () {
          for (let data = 0; ; data++) yield { data };
        });
        await new Promise((resolve) => void setImmediate(resolve));
        expect(await broker.stop("a")).toBe(true);
        expect(await run.done).toBe("stopped");
      });

      it("reaches a function whose promise is pending: what it promises is returned from, unread", async () => {
        const broker = await open();
        const gate = new Gate();
        const cancelled = vi.fn();
        const run = await begin(broker, async () => {
          await gate.opened;
          return new ReadableStream<ServerSentEvent>({ cancel: cancelled });
        });
        expect(await broker.stop("a")).toBe(true);
        expect(await run.done).toBe("stopped");
        gate.open();
        await until(() => cancelled.mock.calls.length === 1);
      });

      it("is false where there is no producer, or none any more", async () => {
        const broker = await open();
        expect(await broker.stop("nobody")).toBe(false);
        await broker.publish("a", { data: "ordinary" });
        expect(await broker.stop("a")).toBe(false);
        await (
          await begin(broker, () => [])
        ).done;
        expect(await broker.stop("a")).toBe(false);
        const stopped = await broker.produce("b", endless().source);
        expect(await broker.stop("b")).toBe(true);
        await stopped?.done;
        expect(await broker.stop("b")).toBe(false);
        await (await broker.produce("c", () => undefined as never))?.done.catch(() => {});
        expect(await broker.stop("c")).toBe(false);
      });

      it("is true for exactly one of many calls, and exactly where the outcome is stopped", async () => {
        for (let turns = 0; turns < 10; turns++) {
          const broker = await open();
          const run = await begin(broker, async function* () {
            for (let n = 0; n < 5; n++) yield await Promise.resolve({ data: n });
          });
          for (let n = 0; n < turns; n++) await new Promise((resolve) => void setImmediate(resolve));
          const told = await Promise.all([broker.stop("a"), broker.stop("a"), broker.stop("a")]);
          expect(told.filter(Boolean).length).toBe((await run.done) === "stopped" ? 1 : 0);
        }
      });
    });

    describe("close()", () => {
      it("stops the broker's producers in order", async () => {
        const broker = await open();
        const { source, seen } = endless(2);
        const run = await begin(broker, source);
        const reader = await read(broker, "a", { from: "start" });
        await reader.take(2);
        await broker.close();
        expect(await run.done).toBe("stopped");
        expect(seen.signal?.reason).toBe("stopped");
        await until(() => seen.returns === 1);
        await expect(broker.produce("b", () => [])).rejects.toMatchObject({ code: "ERR_BROKER_CLOSED" });
        await expect(broker.stop("b")).rejects.toMatchObject({ code: "ERR_BROKER_CLOSED" });
      });

      it("leaves no producer behind that was being claimed", async () => {
        const broker = await open();
        const source = vi.fn(() => []);
        const claiming = broker.produce("a", source);
        await Promise.all([expect(claiming).rejects.toMatchObject({ code: "ERR_BROKER_CLOSED" }), broker.close()]);
        expect(source).not.toHaveBeenCalled();
      });
    });

    describe("bad arguments", () => {
      it.each<[string, unknown[], object]>([
        ["channel", ["", () => []], { code: "ERR_INVALID_CHANNEL" }],
        ["source", ["a", []], { code: "ERR_INVALID_SOURCE" }],
        ["lease", ["a", () => [], { lease: 999 }], { code: "ERR_INVALID_OPTION", field: "lease" }],
        ["lease", ["a", () => [], { lease: 2 ** 31 }], { code: "ERR_INVALID_OPTION", field: "lease" }],
        ["lease", ["a", () => [], { lease: "15s" }], { code: "ERR_INVALID_OPTION", field: "lease" }],
        ["onError", ["a", () => [], { onError: lastWord }], { code: "ERR_INVALID_OPTION", field: "onError" }],
        ["option", ["a", () => [], { onerror: () => null }], { code: "ERR_INVALID_OPTION", field: "onerror" }],
        ["options", ["a", () => [], null], { code: "ERR_INVALID_OPTION", field: "options" }],
      ])("refuses a wrong %s, and claims nothing", async (_name, args, error) => {
        const broker = await open();
        const produce = broker.produce.bind(broker) as (...args: unknown[]) => Promise<unknown>;
        await expect(produce(...args)).rejects.toMatchObject(error);
        expect(await (await begin(broker, () => [])).done).toBe("completed");
        await expect(broker.stop("")).rejects.toMatchObject({ code: "ERR_INVALID_CHANNEL" });
      });
    });

    if (subject.share !== undefined) lostContract(subject.share);
  });
}
