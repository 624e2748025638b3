import { EventStreamError } from "express-event-source";
import { expect, it, vi } from "vitest";
import { show } from "../src/errors.js";

it("an EventStreamError is a TypeError with a code, a field and a cause", () => {
  const cause = new Error("because");
  const error = new EventStreamError("ERR_INVALID_FIELD", "text", { field: "id", cause });
  expect(error).toBeInstanceOf(EventStreamError);
  expect(error).toBeInstanceOf(TypeError);
  expect(error).toMatchObject({
    name: "EventStreamError",
    code: "ERR_INVALID_FIELD",
    field: "id",
    message: "text",
    cause,
  });
  expect(String(error)).toBe("EventStreamError: text");
  expect(Object.hasOwn(new EventStreamError("ERR_INVALID_ITEM", "text"), "cause")).toBe(false);
});

it("an EventStreamError of another build is one too", async () => {
  vi.resetModules();
  const other = await import("../src/errors.js");
  expect(other.EventStreamError).not.toBe(EventStreamError);
  expect(new other.EventStreamError("ERR_INVALID_ITEM", "text")).toBeInstanceOf(EventStreamError);
  expect(new EventStreamError("ERR_INVALID_ITEM", "text")).toBeInstanceOf(other.EventStreamError);
});

it("nothing else is an EventStreamError", () => {
  for (const value of [
    new TypeError("text"),
    new Error("text"),
    { code: "ERR_INVALID_ITEM" },
    null,
    undefined,
    "text",
    5,
  ]) {
    expect(value instanceof EventStreamError).toBe(false);
  }
});

it.each<[shown: string, value: () => unknown]>([
  ['"text"', () => "text"],
  ['"a\\nb\\u001b[31m"', () => "a\nb\u001b[31m"],
  [`"${"x".repeat(60)}…"`, () => "x".repeat(100)],
  ["5n", () => 5n],
  ["0", () => -0],
  ["null", () => null],
  ["undefined", () => undefined],
  ["Symbol(a\uFFFDb)", () => Symbol("a\nb")],
  ["a function", () => () => 1],
  ["function now", () => function now() {}],
  ["function a\uFFFD\uFFFDb", () => Object.defineProperty(() => 1, "name", { value: "a\r\nb" })],
  ["an object that cannot be looked at", () => Object.defineProperty(() => 1, "name", { value: {} })],
  ["an array of 2", () => [1, 2]],
  ["{}", () => ({})],
  ["{ a, b, c, d, … }", () => ({ a: 1, b: 2, c: 3, d: 4, e: 5 })],
  ['{ "a b", "c\\nd" }', () => ({ "a b": 1, "c\nd": 2 })],
  ["{}", () => Object.create(null)],
  ["an instance of Date", () => new Date()],
  ["an instance of Generator", () => (function* () {})()],
  ["an instance of AsyncGenerator", () => (async function* () {})()],
  [
    "an instance of Bad\uFFFDname",
    () =>
      new (class {
        static readonly name = "Bad\nname";
      })(),
  ],
  // what JSON from a client may hold
  ["{ constructor }", () => ({ constructor: { name: "x\nforged line" } })],
  ["{ constructor, length }", () => ({ constructor: null, length: 5 })],
  ["{ __proto__ }", () => JSON.parse('{"__proto__": {"constructor": null}}')],
  [
    "{ constructor }",
    () => ({
      get constructor() {
        throw new Error("no");
      },
    }),
  ],
  [
    "an object that cannot be looked at",
    () =>
      new Proxy(
        {},
        {
          getPrototypeOf() {
            throw new Error("no");
          },
        },
      ),
  ],
  [`1${"0".repeat(59)}…n`, () => 10n ** 100n],
])("a message shows %s, on one line", (shown, value) => {
  expect(show(value())).toBe(shown);
});
