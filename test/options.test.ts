import { eventSource, type EventSourceOptions, EventStreamError, memoryBroker } from "express-event-source";
import { describe, expect, it, onTestFinished } from "vitest";
import { checkSubscribeOptions } from "../src/broker/checks.js";
import { checkOptions } from "../src/options.js";

function refusal(source: unknown, options?: unknown): EventStreamError {
  try {
    eventSource(source as [], options as EventSourceOptions);
  } catch (error) {
    expect(error).toBeInstanceOf(EventStreamError);
    return error as EventStreamError;
  }
  throw new Error("It was not refused.");
}

const afterTimers = 2 ** 31;

describe("an option is refused when eventSource is called, by name and value", () => {
  it.each<[name: string, value: unknown, shown: string]>([
    ["status", 199, "199"],
    ["status", 600, "600"],
    ["status", 200.5, "200.5"],
    ["status", "200", '"200"'],
    ["status", 204, "204"],
    ["status", 205, "205"],
    ["status", 304, "304"],
    ["status", null, "null"],
    ["headers", null, "null"],
    ["headers", "X-A: 1", '"X-A: 1"'],
    ["headers", new Headers({ a: "b" }), "an instance of Headers"],
    ["headers", new Map([["a", "b"]]), "an instance of Map"],
    ["headers", ["a"], "an array of 1"],
    ["pingInterval", -1, "-1"],
    ["pingInterval", 0.5, "0.5"],
    ["pingInterval", Number.NaN, "NaN"],
    ["pingInterval", Number.POSITIVE_INFINITY, "Infinity"],
    ["pingInterval", afterTimers, "2147483648"],
    ["pingInterval", "15s", '"15s"'],
    ["pingInterval", true, "true"],
    ["pingInterval", null, "null"],
    ["ping", { comment: "ping" }, "{ comment }"],
    ["ping", "ping", '"ping"'],
    ["retry", -1, "-1"],
    ["retry", 0.5, "0.5"],
    ["retry", "3000", '"3000"'],
    ["retry", Number.NaN, "NaN"],
    ["retry", null, "null"],
    ["toEvent", {}, "{}"],
    ["toEvent", null, "null"],
    ["serialize", JSON, "{}"],
    ["serialize", "json", '"json"'],
    ["lineEnding", "\n\r", '"\\n\\r"'],
    ["lineEnding", "lf", '"lf"'],
    ["lineEnding", null, "null"],
    ["sendTimeout", 0, "0"],
    ["sendTimeout", -5, "-5"],
    ["sendTimeout", afterTimers, "2147483648"],
    ["sendTimeout", Number.POSITIVE_INFINITY, "Infinity"],
    ["sendTimeout", true, "true"],
    ["maxDuration", 0, "0"],
    ["maxDuration", false, "false"],
    ["maxDuration", afterTimers, "2147483648"],
    ["maxDuration", "1h", '"1h"'],
    ["shutdownSignal", new AbortController(), "an instance of AbortController"],
    ["shutdownSignal", true, "true"],
    ["shutdownSignal", null, "null"],
    ["endOnServerClose", "yes", '"yes"'],
    ["endOnServerClose", 1, "1"],
    ["shutdownGracePeriod", -1, "-1"],
    ["shutdownGracePeriod", afterTimers, "2147483648"],
    ["shutdownGracePeriod", false, "false"],
    ["onError", "log", '"log"'],
    ["onClose", [], "an array of 0"],
  ])("%s: %o", (name, value, shown) => {
    const error = refusal([], { [name]: value });
    expect(error).toMatchObject({ code: "ERR_INVALID_OPTION", field: name });
    expect(error.message).toContain(`${name} is ${shown}; it must be `);
  });

  it.each<[header: string, value: unknown]>([
    ["X-A", "a\r\nX-Forged: 1"],
    ["X-A", "\0"],
    ["X-A", "✓"],
    ["X-A", { a: 1 }],
    ["X-A", null],
    ["X-A", ["a", "b\n"]],
    ["X-A", ["a", undefined]],
    ["X A", "a"],
    ["", "a"],
    ["X-A\r\nX-Forged", "1"],
    ["Content-Length", "5"],
    ["content-length", undefined],
    ["Transfer-Encoding", "chunked"],
    ["Trailer", "X-Sum"],
  ])("headers[%j]: %o", (header, value) => {
    const error = refusal([], { headers: { [header]: value } });
    expect(error.code).toBe("ERR_INVALID_OPTION");
    expect(error.field).toBe(`headers[${JSON.stringify(header)}]`);
    expect(error.message).toContain(`headers[${JSON.stringify(header)}] is `);
    expect(error.message).not.toMatch(/[\r\n]/);
  });

  it("an unknown one, with the names that there are", () => {
    const error = refusal([], { pingIntervall: 5 });
    expect(error).toMatchObject({ code: "ERR_INVALID_OPTION", field: "pingIntervall" });
    expect(error.message).toBe(
      'eventSource has no option "pingIntervall" (its value is 5); it has status, headers, pingInterval, ping, retry, toEvent, serialize, lineEnding, sendTimeout, maxDuration, shutdownSignal, endOnServerClose, shutdownGracePeriod, onError, onClose.',
    );
    expect(refusal([], { toString: 1 }).field).toBe("toString");
    expect(refusal([], JSON.parse('{"__proto__": 1}')).field).toBe("__proto__");
  });

  it.each([[null], [5], ["options"], [[]], [() => ({})], [new Map([["pingInterval", 5]])]])(
    "options that are %o",
    (options) => {
      expect(refusal([], options)).toMatchObject({
        code: "ERR_INVALID_OPTION",
        message: expect.stringMatching(/they must be a plain object with any of status, headers, .*, onClose\.$/),
      });
    },
  );
});

describe("an option is taken", () => {
  it.each<EventSourceOptions>([
    {},
    { status: 299 },
    { status: 503 },
    { headers: { "X-A": "1", "X-B": 2, "Set-Cookie": ["a=1", "b=2"], "X-Accel-Buffering": undefined } },
    { headers: Object.assign(Object.create(null) as object, { "X-A": "1" }) },
    { pingInterval: 0 },
    { pingInterval: false },
    { pingInterval: 1 },
    { pingInterval: 2 ** 31 - 1 },
    { retry: 0 },
    { retry: 2 ** 31 },
    { retry: () => 5 },
    { sendTimeout: false },
    { sendTimeout: 1 },
    { maxDuration: 1 },
    { shutdownSignal: AbortSignal.abort() },
    { endOnServerClose: false },
    { shutdownGracePeriod: 0 },
    { lineEnding: "\r" },
  ])("%o", (options) => {
    expect(eventSource([], options)).toBeTypeOf("function");
  });

  it("or left at its default where it is undefined", () => {
    const names = [
      "status",
      "headers",
      "pingInterval",
      "ping",
      "retry",
      "toEvent",
      "serialize",
      "lineEnding",
      "sendTimeout",
      "maxDuration",
      "shutdownSignal",
      "endOnServerClose",
      "shutdownGracePeriod",
      "onError",
      "onClose",
    ];
    expect(eventSource([], Object.fromEntries(names.map((name) => [name, undefined])))).toBeTypeOf("function");
    expect(eventSource([], undefined)).toBeTypeOf("function");
  });

  it("from a proxy, such as a framework makes of its configuration", () => {
    const proxy = <T extends object>(target: T): T => new Proxy(target, {});
    expect(
      checkOptions(proxy({ headers: proxy({ "X-A": "1", "Set-Cookie": proxy(["a=1", "b=2"]) }) })).headers,
    ).toEqual(
      expect.arrayContaining([
        ["X-A", "1"],
        ["Set-Cookie", ["a=1", "b=2"]],
      ]),
    );
  });

  it("as it was when it was checked, whatever the application does to it afterwards", () => {
    const cookies = ["a=1"];
    const headers = { "Set-Cookie": cookies };
    const settings = checkOptions({ headers });
    cookies.push("b=2\n");
    headers["Set-Cookie"] = [];
    expect(settings.headers.at(-1)).toEqual(["Set-Cookie", ["a=1"]]);
  });

  it("from a frozen object, which stays as it is", () => {
    const options = Object.freeze({
      headers: Object.freeze({ "Set-Cookie": Object.freeze(["a=1"]) }),
      pingInterval: 5,
    });
    eventSource([], options);
    expect(options).toEqual({ headers: { "Set-Cookie": ["a=1"] }, pingInterval: 5 });
  });
});

describe("a source is refused when eventSource is called", () => {
  it.each<[source: unknown, shown: string]>([
    [null, "null"],
    [undefined, "undefined"],
    ["text", '"text"'],
    ["", '""'],
    [5, "5"],
    [5n, "5n"],
    [true, "true"],
    [Symbol("s"), "Symbol(s)"],
    [{}, "{}"],
    [{ data: 1 }, "{ data }"],
    [new Uint8Array(1), "an instance of Uint8Array"],
    [Buffer.from("data: x\n\n"), "an instance of Buffer"],
    [Object("text"), "an instance of String"],
    [Promise.resolve([]), "an instance of Promise"],
    [{ [Symbol.iterator]: null }, "{}"],
    [{ [Symbol.asyncIterator]: 5 }, "{}"],
  ])("%o", (source, shown) => {
    const error = refusal(source);
    expect(error.code).toBe("ERR_INVALID_SOURCE");
    expect(error.message).toBe(
      `The source of eventSource is ${shown}; it must be an async iterable, an iterable, or a function that returns one or a promise of one.`,
    );
  });
});

it("what somebody gave to every object of the process is no option", async () => {
  const root = Object.prototype as unknown as Record<string, unknown>;
  Object.assign(root, { headers: { "X-Polluted": "1" }, status: 500, pingInterval: "5", history: 5, other: 1 });
  onTestFinished(() => {
    for (const name of Object.keys(root)) delete root[name];
  });
  const settings = checkOptions({});
  expect(settings).toMatchObject({ status: 200, pingInterval: 15_000 });
  expect(Object.fromEntries(settings.headers)).not.toHaveProperty("X-Polluted", "1");
  expect(memoryBroker({})).toBeTypeOf("object");
  Object.assign(root, { lastEventId: 5, from: "polluted", signal: 5, onGap: 5 });
  expect(checkSubscribeOptions({})).toEqual({
    lastEventId: undefined,
    from: "now",
    signal: undefined,
    onGap: undefined,
  });
});
