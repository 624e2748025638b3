import type { ServerSentEvent, SubscribeOptions } from "express-event-source";
import { describe, expect, it, vi } from "vitest";
import { openBroker, publishMany, read, type Subject } from "./contract.js";
import { dataOf } from "./reader.js";

const done = { done: true, value: undefined };

/** The part of the contract that is about endings: of a channel, of a subscription, of the broker. */
export function endsContract(subject: Subject): void {
  const open = (history?: { maxEvents?: number; maxAge?: number }) => openBroker(subject, history);

  describe("the end of a channel", () => {
    it("ends its subscriptions after the last event", async () => {
      const broker = await open();
      const [lagging, waiting] = [await read(broker, "a"), await read(broker, "a")];
      const everything = waiting.rest();
      await publishMany(broker, "a", 3);
      await broker.end("a");
      await lagging.expectRest(0, 1, 2);
      expect(dataOf(await everything)).toEqual([0, 1, 2]);
    });

    it("lets later subscriptions have the rest, and is empty where nothing is left", async () => {
      const broker = await open();
      const ids = await publishMany(broker, "a", 3);
      await broker.end("a");
      const rest = async (options?: SubscribeOptions) => dataOf(await (await read(broker, "a", options)).rest());
      expect(await rest({ lastEventId: ids[0] })).toEqual([1, 2]);
      expect(await rest({ from: "start" })).toEqual([0, 1, 2]);
      expect(await rest({ lastEventId: ids[2] })).toEqual([]);
      expect(await rest()).toEqual([]);
      expect(await rest({ lastEventId: "unknown" })).toEqual(["gap", 0, 1, 2]);
    });

    it("comes to a channel that never had an event, and may come twice", async () => {
      const broker = await open();
      const waiting = (await read(broker, "a")).rest();
      await broker.end("a");
      await broker.end("a");
      expect(await waiting).toEqual([]);
      expect(await (await read(broker, "a", { from: "start" })).rest()).toEqual([]);
    });

    it("refuses what is published afterwards, of this channel only", async () => {
      const broker = await open();
      await broker.publish("a", { data: 0 });
      await broker.end("a");
      await expect(broker.publish("a", { data: 1 })).rejects.toMatchObject({ code: "ERR_CHANNEL_ENDED" });
      await broker.publish("b", { data: 1 });
      await (await read(broker, "a", { from: "start" })).expectRest(0);
    });

    it("ends a subscription to several when all of them have ended", async () => {
      const broker = await open();
      const everything = (await read(broker, ["a", "b"])).rest();
      await broker.publish("a", { data: 0 });
      await broker.end("a");
      await broker.publish("b", { data: 1 });
      await broker.end("b");
      // Between channels there is no order, within one millisecond.
      expect(dataOf(await everything).sort()).toEqual([0, 1]);
    });

    it("is forgotten with the events, and the channel begins anew", async () => {
      const broker = await open({ maxAge: 800 });
      const id = await broker.publish("a", { data: 0 });
      await broker.end("a");
      await subject.pass(200);
      await expect(broker.publish("a", { data: 1 })).rejects.toMatchObject({ code: "ERR_CHANNEL_ENDED" });
      await subject.pass(2_000);
      // If the machine stands still before an event is read, that one has aged too: there is a gap in its place.
      let published = 1;
      let second: unknown;
      do {
        await broker.publish("a", { data: ++published });
        [, second] = dataOf(await (await read(broker, "a", { lastEventId: id })).take(2));
      } while (second === "gap" && published < 10);
      expect(second).toBe(published);
    });
  });

  describe("publishAll", () => {
    async function* numbers(count: number, failure?: Error) {
      for (let n = 0; n < count; n++) yield { data: n };
      if (failure !== undefined) throw failure;
    }

    it("publishes everything, then ends the channel", async () => {
      const broker = await open();
      const everything = (await read(broker, "a")).rest();
      await broker.publishAll("a", numbers(5));
      expect(dataOf(await everything)).toEqual([0, 1, 2, 3, 4]);
      await broker.publishAll("b", [{ data: "an array" }]);
      await (await read(broker, "b", { from: "start" })).expectRest("an array");
    });

    it("rejects when its source fails, and leaves the channel open for a last word", async () => {
      const broker = await open();
      const everything = (await read(broker, "a")).rest();
      await expect(broker.publishAll("a", numbers(2, new Error("no more tokens")))).rejects.toThrow("no more tokens");
      await broker.publish("a", { event: "failed", data: "sorry" });
      await broker.end("a");
      expect(dataOf(await everything)).toEqual([0, 1, "sorry"]);
    });

    it("lets the event loop go on while its source is always ready", async () => {
      const broker = await open();
      let isOver = false;
      setTimeout(() => (isOver = true));
      function* untilTheTimerFires() {
        while (!isOver) yield { data: "again" };
      }
      await broker.publishAll("a", untilTheTimerFires());
      expect(isOver).toBe(true);
    });

    it("says what it needs where the source is something else", async () => {
      const broker = await open();
      for (const source of [undefined, null, 5, "text", numbers, Promise.resolve([])] as unknown as Iterable<never>[]) {
        await expect(broker.publishAll("a", source)).rejects.toMatchObject({
          code: "ERR_INVALID_SOURCE",
          message: expect.stringContaining("publishAll needs an iterable or an async iterable of events"),
        });
      }
    });

    it("lets its source go when an event is refused", async () => {
      const broker = await open();
      const letGo = vi.fn();
      async function* source(): AsyncGenerator<ServerSentEvent> {
        try {
          yield { data: 0 };
          yield { data: [1n] };
          yield { data: 2 };
        } finally {
          letGo();
        }
      }
      await expect(broker.publishAll("a", source())).rejects.toMatchObject({ code: "ERR_UNSERIALIZABLE_DATA" });
      expect(letGo).toHaveBeenCalledTimes(1);
      await broker.publish("a", { data: "open" });
      await (await read(broker, "a", { from: "start" })).expectNext(0, "open");
    });
  });

  describe("the end of a subscription", () => {
    it("comes with its signal, whether it waits, lags or was never read", async () => {
      const broker = await open();
      const controller = new AbortController();
      const options = { signal: controller.signal };
      const [waiting, lagging, unread] = [
        await read(broker, "a", options),
        await read(broker, "b", options),
        await read(broker, "b", options),
      ];
      const pending = waiting.next();
      await publishMany(broker, "b", 3);
      await lagging.expectNext(0);
      controller.abort();
      expect(await pending).toEqual(done);
      for (const reader of [waiting, lagging, unread]) expect(await reader.next()).toEqual(done);
      expect(await (await read(broker, "b", { ...options, from: "start" })).rest()).toEqual([]);
    });

    it("comes with return(), also for a call that is waiting", async () => {
      const broker = await open();
      const reader = await read(broker, "a");
      const pending = reader.next();
      expect(await reader.return()).toEqual(done);
      expect(await pending).toEqual(done);
      await broker.publish("a", { data: 0 });
      expect(await reader.next()).toEqual(done);
    });

    it("leaves the others alone", async () => {
      const broker = await open();
      const [leaving, staying] = [await read(broker, "a"), await read(broker, "a")];
      const next = staying.take(1);
      void leaving.next();
      await leaving.return();
      await broker.publish("a", { data: 0 });
      expect(dataOf(await next)).toEqual([0]);
    });

    it("answers calls of next in their order, each with an event of its own, then with the end", async () => {
      const broker = await open();
      const reader = await read(broker, "a");
      const calls = [reader.next(), reader.next(), reader.next(), reader.next()];
      await publishMany(broker, "a", 3);
      await broker.end("a");
      expect((await Promise.all(calls)).map(({ value }) => value?.data as unknown)).toEqual([0, 1, 2, undefined]);
      expect(await reader.next()).toEqual(done);
    });
  });

  describe("a closed broker", () => {
    it("has ended every subscription, and refuses everything", async () => {
      const broker = await open();
      const [waiting, lagging] = [await read(broker, ["a", "b"]), await read(broker, "b")];
      const pending = waiting.next();
      await publishMany(broker, "b", 1);
      await pending;
      const next = waiting.next();
      await broker.close();
      await broker.close();
      expect(await next).toEqual(done);
      expect(await lagging.next()).toEqual(done);
      const closed = { code: "ERR_BROKER_CLOSED" };
      await expect(broker.publish("a", { data: 1 })).rejects.toMatchObject(closed);
      await expect(broker.publishAll("a", [{ data: 1 }])).rejects.toMatchObject(closed);
      await expect(broker.end("a")).rejects.toMatchObject(closed);
      await expect(broker.subscribe("a")).rejects.toMatchObject(closed);
    });
  });

  describe("bad arguments", () => {
    it.each<[string, unknown]>([
      ["an empty name", ""],
      ["no string", 5],
      ["nothing", undefined],
      ["no channels", []],
      ["an empty name among others", ["a", ""]],
      ["a name of 513 units", "x".repeat(513)],
      ["a lone surrogate", "a\ud800b"],
    ])("refuses %s as channel", async (_name, channel) => {
      const broker = await open();
      const refused = { code: "ERR_INVALID_CHANNEL", status: 400 };
      await expect(broker.subscribe(channel as string)).rejects.toMatchObject(refused);
      await expect(broker.publish(channel as string, { data: 1 })).rejects.toMatchObject(refused);
      await expect(broker.end(channel as string)).rejects.toMatchObject(refused);
    });

    it("takes a name of 512 units, pairs of surrogates too", async () => {
      const broker = await open();
      const channel = "😀".repeat(256);
      const reader = await read(broker, channel);
      await broker.publish(channel, { data: 1 });
      await reader.expectNext(1);
    });

    it.each(["lastEventID", "last_event_id", "LASTEVENTID", "ongap", "From"])(
      "refuses %s, which differs from an option by case or underscores only",
      async (field) => {
        const broker = await open();
        const refused = broker.subscribe("a", { [field]: undefined });
        await expect(refused).rejects.toMatchObject({ code: "ERR_INVALID_OPTION", field });
        await broker.subscribe("a", { response: {}, lastEvent: 1 } as object);
      },
    );

    it.each<[string, object]>([
      ["from", { from: "beginning" }],
      ["lastEventId", { lastEventId: 5 }],
      ["signal", { signal: new AbortController() }],
      ["onGap", { onGap: {} }],
    ])("refuses a wrong %s, naming it", async (field, options) => {
      const broker = await open();
      await expect(broker.subscribe("a", options)).rejects.toMatchObject({ code: "ERR_INVALID_OPTION", field });
    });
  });
}
