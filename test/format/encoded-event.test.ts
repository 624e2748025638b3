import { encodeEvent } from "express-event-source";
import { expect, it } from "vitest";
import { EncodedEvent } from "../../src/format/encoded-event.js";

class Published extends EncodedEvent {
  readonly data: unknown = { n: 1 };
}
const event = new Published("data: the shared frame\n\n");

it("an encoded event brings its frame", () => {
  expect(encodeEvent(event)).toBe("data: the shared frame\n\n");
});

it("an encoded event is encoded afresh where its frame would not fit", () => {
  expect(encodeEvent(event, { lineEnding: "\r\n" })).toBe('data: {"n":1}\r\n\r\n');
  expect(encodeEvent(event, { serialize: () => "mine" })).toBe("data: mine\n\n");
});

it("a copy of an encoded event is an ordinary event", () => {
  expect(encodeEvent({ ...event, event: "copy" })).toBe('event: copy\ndata: {"n":1}\n\n');
});
