import { encodeEvent, EventStreamError, type ServerSentEvent } from "express-event-source";
import { describe, expect, it, onTestFinished } from "vitest";

/** The error of something that must fail. */
function refusal(work: () => unknown): EventStreamError {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(EventStreamError);
    return error as EventStreamError;
  }
  throw new Error("It was not refused.");
}

const refused = (item: unknown, options?: object): EventStreamError =>
  refusal(() => encodeEvent(item as ServerSentEvent, options));

/** Gives every object of the process these properties, until the test has ended. */
function pollute(properties: Record<string, unknown>): void {
  Object.assign(Object.prototype, properties);
  onTestFinished(() => {
    for (const name of Object.keys(properties)) delete (Object.prototype as unknown as Record<string, unknown>)[name];
  });
}

describe("the bytes of an event", () => {
  const frames: [item: Parameters<typeof encodeEvent>[0], frame: string][] = [
    // items that are data by themselves
    ["hello", "data: hello\n\n"],
    ["", "data: \n\n"],
    [" leading space", "data:  leading space\n\n"],
    ["a\nb", "data: a\ndata: b\n\n"],
    ["a\r\nb\rc\n", "data: a\ndata: b\ndata: c\ndata: \n\n"],
    ["\n", "data: \ndata: \n\n"],
    ["\n\r", "data: \ndata: \ndata: \n\n"],
    ["a\u2028b\u2029c\u0085d\ve\ff", "data: a\u2028b\u2029c\u0085d\ve\ff\n\n"],
    ["\uFEFFbom and \0 nul", "data: \uFEFFbom and \0 nul\n\n"],
    [5, "data: 5\n\n"],
    [0, "data: 0\n\n"],
    [-1.5, "data: -1.5\n\n"],
    [12345678901234567890n, "data: 12345678901234567890\n\n"],
    [true, "data: true\n\n"],
    [false, "data: false\n\n"],
    // each field by itself
    [{ data: "hello" }, "data: hello\n\n"],
    [{ data: "" }, "data: \n\n"],
    [{ data: null }, "data: null\n\n"],
    [{ data: 0 }, "data: 0\n\n"],
    [{ data: false }, "data: false\n\n"],
    [{ data: { text: "a\nb" } }, 'data: {"text":"a\\nb"}\n\n'],
    [{ data: [1, "two"] }, 'data: [1,"two"]\n\n'],
    [{ data: new Date(0) }, 'data: "1970-01-01T00:00:00.000Z"\n\n'],
    [{ data: '{"already":"JSON"}' }, 'data: {"already":"JSON"}\n\n'],
    [{ data: 10n }, "data: 10\n\n"],
    [{ event: "price", data: "" }, "event: price\ndata: \n\n"],
    [{ event: "", data: "" }, "event: \ndata: \n\n"],
    [{ event: "a: b", data: "" }, "event: a: b\ndata: \n\n"],
    [{ event: "nul \0 is legal here", data: "" }, "event: nul \0 is legal here\ndata: \n\n"],
    [{ id: "7" }, "id: 7\n\n"],
    [{ id: "" }, "id: \n\n"],
    [{ id: 0 }, "id: 0\n\n"],
    [{ id: -0 }, "id: 0\n\n"],
    [{ id: 1.5 }, "id: 1.5\n\n"],
    [{ id: "Grüße ✓" }, "id: Grüße ✓\n\n"],
    [{ retry: 0 }, "retry: 0\n\n"],
    [{ retry: 3_000 }, "retry: 3000\n\n"],
    [{ retry: Number.MAX_SAFE_INTEGER }, "retry: 9007199254740991\n\n"],
    [{ comment: "ping" }, ": ping\n\n"],
    [{ comment: "" }, ": \n\n"],
    [{ comment: "you can't see\nthis ping" }, ": you can't see\n: this ping\n\n"],
    [{ comment: "a\r\ndata: b" }, ": a\n: data: b\n\n"],
    // together, in one order whatever the order of the keys
    [{ retry: 1, data: "d", event: "e", id: "i", comment: "c" }, ": c\nid: i\nevent: e\ndata: d\nretry: 1\n\n"],
    [{ id: 7, data: { n: 7 } }, 'id: 7\ndata: {"n":7}\n\n'],
    [{ data: "d", event: undefined, id: undefined, retry: undefined, comment: undefined }, "data: d\n\n"],
    [{ data: undefined, comment: "c" }, ": c\n\n"],
  ];

  it.each(frames)("are exact for %o", (item, frame) => {
    expect(encodeEvent(item)).toBe(frame);
  });

  it.each(["\r\n", "\r"] as const)("end every line with %j where that is asked for", (lineEnding) => {
    for (const [item, frame] of frames) {
      expect(encodeEvent(item, { lineEnding })).toBe(frame.replaceAll("\n", lineEnding));
    }
  });

  it("hold what another serialize makes of data that is no string", () => {
    const serialize = (data: unknown): string => `<${String(data)}>\n<end>`;
    expect(encodeEvent({ data: 5 }, { serialize })).toBe("data: <5>\ndata: <end>\n\n");
    expect(encodeEvent(5, { serialize })).toBe("data: <5>\ndata: <end>\n\n");
    expect(encodeEvent({ data: "as it is" }, { serialize })).toBe("data: as it is\n\n");
  });

  it("are made without touching the event", () => {
    const event = Object.freeze({
      comment: "c",
      id: 1,
      event: "e",
      data: Object.freeze({ a: Object.freeze([1]) }),
      retry: 5,
    });
    expect(encodeEvent(event)).toBe(': c\nid: 1\nevent: e\ndata: {"a":[1]}\nretry: 5\n\n');
  });

  it("are the same whether a field is the event's own or inherited", () => {
    class Price {
      readonly event = "price";
      get data(): unknown {
        return 9;
      }
    }
    expect(encodeEvent(new Price())).toBe("event: price\ndata: 9\n\n");
    expect(encodeEvent(Object.assign(Object.create(null) as object, { data: 1 }))).toBe("data: 1\n\n");
  });

  it("are those of the fields that are its own, whatever else every object of the process has", () => {
    class Price {
      get data(): unknown {
        return 9;
      }
    }
    const inherited = Object.create({ event: "price" }) as object;
    pollute({ data: "polluted", event: "polluted", id: "polluted", price: 1 });
    expect(encodeEvent({ data: "own" })).toBe("data: own\n\n");
    expect(encodeEvent({ comment: "c" })).toBe(": c\n\n");
    expect(encodeEvent(new Price())).toBe("data: 9\n\n");
    expect(encodeEvent(Object.assign(inherited, { data: 1 }))).toBe("event: price\ndata: 1\n\n");
    expect(refused({}).code).toBe("ERR_EMPTY_EVENT");
    expect(refused({ data: 1, price: 2 }).code).toBe("ERR_UNKNOWN_FIELD");
  });

  it("are right for any number of events' names", () => {
    for (let n = 0; n < 200; n++) expect(encodeEvent({ event: `e${n}`, data: n })).toBe(`event: e${n}\ndata: ${n}\n\n`);
    const lone = { event: '\uD800 "quoted" \u2028', data: "" };
    for (let n = 0; n < 2; n++) expect(encodeEvent(lone)).toBe(`event: ${lone.event}\ndata: \n\n`);
    for (let n = 0; n < 2; n++) expect(refused({ event: "a\nb", data: "" }).field).toBe("event");
    expect(encodeEvent({ event: "e1", data: 1 }, { lineEnding: "\r\n" })).toBe("event: e1\r\ndata: 1\r\n\r\n");
  });

  it("read each field once", () => {
    let reads = 0;
    const event = {
      get id(): string {
        reads += 1;
        return reads === 1 ? "7" : "8\ndata: forged";
      },
    };
    expect(encodeEvent(event)).toBe("id: 7\n\n");
  });
});

describe("an event that cannot be sent is refused", () => {
  const cyclic: Record<string, unknown> = {};
  cyclic.self = cyclic;

  it.each<[what: string, item: unknown, code: string, field: string | undefined, message: RegExp]>([
    ["null", null, "ERR_INVALID_ITEM", undefined, /^null cannot be sent as an event; write \{ data: … \}/],
    ["undefined", undefined, "ERR_INVALID_ITEM", undefined, /^undefined cannot/],
    ["a symbol", Symbol("s"), "ERR_INVALID_ITEM", undefined, /^Symbol\(s\) cannot/],
    ["a function", function now() {}, "ERR_INVALID_ITEM", undefined, /^function now cannot/],
    ["bytes", new Uint8Array([1, 2]), "ERR_INVALID_ITEM", undefined, /decode the bytes into a string/],
    ["no bytes", new Uint8Array(), "ERR_INVALID_ITEM", undefined, /decode the bytes into a string/],
    ["a Buffer", Buffer.from("data: x\n\n"), "ERR_INVALID_ITEM", undefined, /decode the bytes into a string/],
    [
      "an event without fields",
      {},
      "ERR_EMPTY_EVENT",
      undefined,
      /^\{\} has none of the fields .*put your payload in data/,
    ],
    [
      "an event whose fields are undefined",
      { data: undefined, id: undefined },
      "ERR_EMPTY_EVENT",
      undefined,
      /^The data of \{ data, id \} is undefined, so there is nothing to send; send null or ""/,
    ],
    [
      "data that came out undefined",
      { data: undefined },
      "ERR_EMPTY_EVENT",
      undefined,
      /^The data of \{ data \} is undefined/,
    ],
    ["fields that are undefined", { id: undefined }, "ERR_EMPTY_EVENT", undefined, /^\{ id \} has none of the fields/],
    [
      "an event without data",
      { event: "done" },
      "ERR_INVALID_FIELD",
      "data",
      /^The event "done" has no data.*write data: ""/,
    ],
    [
      "an event whose data came out undefined",
      { event: "done", data: undefined, id: 1 },
      "ERR_INVALID_FIELD",
      "data",
      /write data: ""/,
    ],
    ["an empty array", [], "ERR_INVALID_ITEM", undefined, /^an array of 0 cannot.*toEvent: \(\[value\]\) => …/],
    ["a Date", new Date(), "ERR_EMPTY_EVENT", undefined, /^an instance of Date has none.*put your payload in data/],
    ["a Map", new Map([["data", 1]]), "ERR_EMPTY_EVENT", undefined, /^an instance of Map/],
    ["a promise", Promise.resolve("x"), "ERR_INVALID_ITEM", undefined, /await the promise first/],
    [
      "an array",
      ["a"],
      "ERR_INVALID_ITEM",
      undefined,
      /^an array of 1 cannot be sent as an event; pass toEvent: \(\[value\]\) => … to send what is in it, as for events\.on\(\), or put it in data\.$/,
    ],
    [
      "a payload without data around it",
      { price: 9 },
      "ERR_UNKNOWN_FIELD",
      "price",
      /^"price" is not a field.*put your payload in data: \{ data: \{ price \} \}/,
    ],
    ["an unknown key beside data", { data: 1, Event: "x" }, "ERR_UNKNOWN_FIELD", "Event", /^"Event" is not/],
    ["an unknown key that is undefined", { data: 1, name: undefined }, "ERR_UNKNOWN_FIELD", "name", /^"name" is not/],
    ["an inherited unknown key", Object.create({ price: 1 }), "ERR_UNKNOWN_FIELD", "price", /^"price"/],
    ["event: 5", { event: 5 }, "ERR_INVALID_FIELD", "event", /"event" is 5; it must be a string/],
    ["event: null", { event: null }, "ERR_INVALID_FIELD", "event", /is null/],
    [
      "LF in event",
      { event: "a\ndata: forged" },
      "ERR_INVALID_FIELD",
      "event",
      /"a\\ndata: forged"; it must be one line/,
    ],
    ["CR in event", { event: "a\r" }, "ERR_INVALID_FIELD", "event", /"a\\r"/],
    ["id: null", { id: null }, "ERR_INVALID_FIELD", "id", /"id" is null; it must be a string or a finite number/],
    ["id: NaN", { id: Number.NaN }, "ERR_INVALID_FIELD", "id", /is NaN/],
    ["id: Infinity", { id: Number.POSITIVE_INFINITY }, "ERR_INVALID_FIELD", "id", /is Infinity/],
    ["id: 5n", { id: 5n }, "ERR_INVALID_FIELD", "id", /is 5n/],
    ["id: {}", { id: { toString: () => "1\ndata: forged" } }, "ERR_INVALID_FIELD", "id", /is \{ toString \}/],
    ["LF in id", { id: "1\n" }, "ERR_INVALID_FIELD", "id", /"1\\n"; it must be one line/],
    ["CR in id", { id: "\r" }, "ERR_INVALID_FIELD", "id", /one line/],
    ["NUL in id", { id: "1\0" }, "ERR_INVALID_FIELD", "id", /"1\\u0000"; it must be free of NUL/],
    [
      "retry: -1",
      { retry: -1 },
      "ERR_INVALID_FIELD",
      "retry",
      /"retry" is -1; it must be a whole number of milliseconds/,
    ],
    ["retry: 1.5", { retry: 1.5 }, "ERR_INVALID_FIELD", "retry", /is 1.5/],
    ["retry: NaN", { retry: Number.NaN }, "ERR_INVALID_FIELD", "retry", /is NaN/],
    ["retry: Infinity", { retry: Number.POSITIVE_INFINITY }, "ERR_INVALID_FIELD", "retry", /is Infinity/],
    ["retry: 1e21", { retry: 1e21 }, "ERR_INVALID_FIELD", "retry", /is 1e\+21/],
    ['retry: "5"', { retry: "5" }, "ERR_INVALID_FIELD", "retry", /is "5"/],
    ["retry: null", { retry: null }, "ERR_INVALID_FIELD", "retry", /is null/],
    ["comment: {}", { comment: {} }, "ERR_INVALID_FIELD", "comment", /"comment" is \{\}; it must be a string/],
    ["comment: 5", { comment: 5 }, "ERR_INVALID_FIELD", "comment", /is 5/],
    [
      "data that JSON cannot carry",
      { data: cyclic },
      "ERR_UNSERIALIZABLE_DATA",
      "data",
      /serialize failed for the data \{ self \}/,
    ],
    ["a bigint inside of data", { data: [5n] }, "ERR_UNSERIALIZABLE_DATA", "data", /the data an array of 1/],
    [
      "data that serializes to undefined",
      { data: () => 1 },
      "ERR_UNSERIALIZABLE_DATA",
      "data",
      /into undefined instead of a string; leave the field out/,
    ],
    ["data: a symbol", { data: Symbol("s") }, "ERR_UNSERIALIZABLE_DATA", "data", /Symbol\(s\)/],
    [
      "data whose toJSON gives undefined",
      { data: { toJSON: () => undefined } },
      "ERR_UNSERIALIZABLE_DATA",
      "data",
      /into undefined/,
    ],
  ])("%s", (_what, item, code, field, message) => {
    const error = refused(item);
    expect(error).toMatchObject({ name: "EventStreamError", code, field });
    expect(error.message).toMatch(message);
  });

  it("keeps what serialize threw as the cause", () => {
    const cause = new Error("no");
    const error = refused(
      { data: 1 },
      {
        serialize: () => {
          throw cause;
        },
      },
    );
    expect(error).toMatchObject({ code: "ERR_UNSERIALIZABLE_DATA", field: "data", cause });
  });

  it("refuses a serialize that returns no string", () => {
    expect(refused({ data: 1 }, { serialize: () => 5 })).toMatchObject({
      code: "ERR_UNSERIALIZABLE_DATA",
      message: expect.stringContaining("into 5 instead of a string"),
    });
  });

  it("shows what was wrong on one line and in few words", () => {
    const long = "x".repeat(10_000);
    for (const item of [
      { event: `${long}\n` },
      { [`${long}\n`]: 1 },
      { data: { [`a\nb${long}`]: 5n } },
      { id: `\r\n${long}` },
    ]) {
      const { message } = refused(item);
      expect(message).not.toMatch(/[\r\n]/);
      expect(message.length).toBeLessThan(400);
    }
  });
});

describe("the options of encodeEvent", () => {
  it.each<[options: unknown, field: string | undefined, message: RegExp]>([
    [{ lineEnding: "\n\r" }, "lineEnding", /The option lineEnding is "\\n\\r"; it must be "\\n", "\\r\\n" or "\\r"/],
    [{ lineEnding: null }, "lineEnding", /is null/],
    [{ serialize: "JSON" }, "serialize", /serialize is "JSON"; it must be a function/],
    [
      { lineEndings: "\n" },
      "lineEndings",
      /encodeEvent has no option "lineEndings" \(its value is "\\n"\); it has lineEnding, serialize\./,
    ],
    [
      null,
      "options",
      /options of encodeEvent are null; they must be a plain object with any of lineEnding, serialize\./,
    ],
    ["\r\n", "options", /are "\\r\\n"/],
    // as `events.map(encodeEvent)` would pass it
    [0, "options", /are 0/],
  ])("refuse %o", (options, field, message) => {
    const error = refused("x", options as object);
    expect(error).toMatchObject({ code: "ERR_INVALID_OPTION", field });
    expect(error.message).toMatch(message);
  });

  it("are not what every object of the process has", () => {
    pollute({ lineEnding: "\r", serialize: () => "polluted", other: 1 });
    expect(encodeEvent({ data: 1 }, {})).toBe("data: 1\n\n");
  });

  it("may be undefined", () => {
    expect(encodeEvent("x", { lineEnding: undefined, serialize: undefined })).toBe("data: x\n\n");
  });
});
