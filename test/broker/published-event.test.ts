import { encodeEvent } from "express-event-source";
import { describe, expect, it, vi } from "vitest";
import { encodeForPublishing, publishedEvent, withId } from "../../src/broker/published-event.js";
import { frameOf } from "../../src/format/encoded-event.js";

const roundTrip = (event: object, id = "1-0") =>
  publishedEvent(id, encodeForPublishing(event)) as Record<string, unknown>;

describe("a published event", () => {
  it("has the frame that encodeEvent makes of the same fields, whatever they are", () => {
    for (const event of [
      { data: { a: [1, { b: "x\ny" }] } },
      { data: "two\r\nlines\n" },
      { data: "" },
      { data: null },
      { data: 0, event: "n" },
      { comment: "a\nb" },
      { retry: 0 },
      { event: "", data: 10n },
      { comment: "a\nb", data: 1 },
      { comment: "c", event: "e", data: [true], retry: 5 },
    ]) {
      expect(frameOf(roundTrip(event))).toBe(encodeEvent({ ...event, id: "1-0" }));
    }
  });

  it("shows its fields, and only those it has", () => {
    expect(Object.entries(roundTrip({ event: "e", data: { n: 1 }, retry: 5, comment: undefined }))).toEqual([
      ["id", "1-0"],
      ["event", "e"],
      ["data", { n: 1 }],
      ["retry", 5],
    ]);
    expect(roundTrip({ data: "text" })).toEqual({ id: "1-0", data: "text" });
  });

  it("shows data as JSON carries it, parsed once and only when somebody looks, frozen to the bottom", () => {
    const parse = vi.spyOn(JSON, "parse");
    const event = roundTrip({ data: { at: new Date(0), inner: [{ n: 1 }], gone: undefined } });
    expect(frameOf(event)).toContain("1970");
    expect(parse).not.toHaveBeenCalled();
    expect(event.data).toEqual({ at: "1970-01-01T00:00:00.000Z", inner: [{ n: 1 }] });
    const { inner } = event.data as { inner: { n: number }[] };
    expect(event.data).toBe(event.data);
    expect(parse).toHaveBeenCalledTimes(1);
    expect(() => inner.push({ n: 2 })).toThrow(TypeError);
    expect(() => ((inner[0] as { n: number }).n = 2)).toThrow(TypeError);
    expect(() => (event.data = 1)).toThrow(TypeError);
    parse.mockRestore();
  });

  it("becomes an ordinary event in a copy, which is encoded afresh", () => {
    const event = roundTrip({ event: "e", data: { n: 1 } });
    const copy = { ...event, data: { n: 2 } };
    expect(frameOf(copy)).toBeUndefined();
    expect(encodeEvent(copy)).toBe('id: 1-0\nevent: e\ndata: {"n":2}\n\n');
  });

  it("can be encoded with another line ending or serialize", () => {
    const event = roundTrip({ data: { n: 1 } });
    expect(encodeEvent(event, { lineEnding: "\r\n" })).toBe('id: 1-0\r\ndata: {"n":1}\r\n\r\n');
    expect(encodeEvent(event, { serialize: () => "x" })).toBe("id: 1-0\ndata: x\n\n");
  });

  it("keeps everything but its id under another one, data parsed once for both", () => {
    for (const event of [{ data: { n: 1 } }, { comment: "id: 1-0\nid: 1-0", event: "e", data: "x\ny", retry: 5 }]) {
      const first = roundTrip(event);
      const second = withId(first as never, "a:1,b:2") as Record<string, unknown>;
      expect(frameOf(second)).toBe(encodeEvent({ ...event, id: "a:1,b:2" }));
      expect(second).toEqual({ ...first, id: "a:1,b:2" });
      expect(second.data).toBe(first.data);
      expect(Object.isFrozen(second)).toBe(true);
    }
  });

  it("serializes its data once, however many ids and streams it gets", () => {
    const toJSON = vi.fn(() => ({ n: 1 }));
    const parts = encodeForPublishing({ data: { toJSON } });
    expect(encodeEvent(publishedEvent("1", parts)) + encodeEvent(publishedEvent("2", parts))).toBe(
      'id: 1\ndata: {"n":1}\n\nid: 2\ndata: {"n":1}\n\n',
    );
    expect(toJSON).toHaveBeenCalledTimes(1);
  });

  it("carries whatever JSON.stringify can nest, and the key __proto__", () => {
    let nested: unknown = [];
    for (let depth = 0; depth < 3_000; depth++) nested = [nested];
    expect(Array.isArray(roundTrip({ data: nested }).data)).toBe(true);
    const data = roundTrip({ data: JSON.parse('{"__proto__":{"admin":true}}') }).data as object;
    expect(Object.keys(data)).toEqual(["__proto__"]);
    expect((data as { admin?: boolean }).admin).toBeUndefined();
  });

  it("has flat strings as parts, by which text and JSON can be told apart", () => {
    expect(encodeForPublishing({ comment: "c", event: "e", data: "5", retry: 7 })).toEqual({
      comment: "c",
      event: "e",
      text: "5",
      retry: "7",
    });
    expect(encodeForPublishing({ data: 5 })).toEqual({ json: "5" });
  });

  it.each<[string, unknown, string, string?]>([
    ["an id of its own", { id: "7", data: 1 }, "ERR_INVALID_FIELD", "id"],
    ["an empty id of its own", { id: "", data: 1 }, "ERR_INVALID_FIELD", "id"],
    ["an unknown field", { dta: 1 }, "ERR_UNKNOWN_FIELD", "dta"],
    ["a bigint in data", { data: [1n] }, "ERR_UNSERIALIZABLE_DATA", "data"],
    ["a function as data", { data: () => 1 }, "ERR_UNSERIALIZABLE_DATA", "data"],
    ["a forged line", { event: "a\nb" }, "ERR_INVALID_FIELD", "event"],
    ["a negative retry", { retry: -1 }, "ERR_INVALID_FIELD", "retry"],
    ["an event without data", { event: "done" }, "ERR_INVALID_FIELD", "data"],
    ["data that came out undefined", { data: undefined }, "ERR_EMPTY_EVENT"],
    ["no field", {}, "ERR_EMPTY_EVENT"],
    ["bytes", new Uint8Array(3), "ERR_INVALID_ITEM"],
    ["a string", "text", "ERR_INVALID_ITEM"],
    ["null", null, "ERR_INVALID_ITEM"],
  ])("is refused with %s", (_name, event, code, field) => {
    expect(() => encodeForPublishing(event)).toThrow(expect.objectContaining({ code, field }));
  });
});
