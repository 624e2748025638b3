import { EventStreamError } from "express-event-source";
import { expect, it, vi } from "vitest";

it("an EventStreamError is a TypeError with a code, a field and a cause", () => {
  const cause = new Error("because");
  const error = new EventStreamError("ERR_INVALID_FIELD", "text", { field: "id", cause });
  expect(error).toBeInstanceOf(EventStreamError);
  expect(error).toBeInstanceOf(TypeError);
  expect(error).toMatchObject({ name: "EventStreamError", code: "ERR_INVALID_FIELD", field: "id", message: "text", cause });
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
  for (const value of [new TypeError("text"), new Error("text"), { code: "ERR_INVALID_ITEM" }, null, undefined, "text", 5]) {
    expect(value instanceof EventStreamError).toBe(false);
  }
});
