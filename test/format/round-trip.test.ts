import { createParser, type EventSourceMessage } from "eventsource-parser";
import { encodeEvent, EventStreamError, type ServerSentEvent } from "express-event-source";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

/** Text that is likely to hold what could go wrong: every line break, what is none, field names, colons, whole planes of Unicode. */
const piece = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      "\n",
      "\r",
      "\r\n",
      "\n\n",
      "\r\r",
      "\u2028",
      "\u2029",
      "\u0085",
      "\v",
      "\f",
      "\0",
      "\uFEFF",
      " ",
      ":",
      ": ",
    ),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      "data: forged",
      "data",
      "id: forged",
      "event: forged",
      "retry: 1",
      ": forged",
      "\n\ndata: forged\n\n",
    ),
  },
  { weight: 3, arbitrary: fc.string({ unit: "binary", maxLength: 6 }) },
);
const text = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(""));
const oneLine = text.map((value) => value.replace(/[\r\n]/g, ""));
const lineEnding = fc.constantFrom("\n" as const, "\r\n" as const, "\r" as const);

const anyEvent = fc
  .record(
    {
      comment: text,
      id: fc.oneof(
        oneLine.map((value) => value.replaceAll("\0", "")),
        fc.integer(),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
      ),
      event: oneLine,
      data: fc.oneof(text, fc.jsonValue()),
      retry: fc.nat(),
    },
    { requiredKeys: [] },
  )
  // Without data an event has no type, or no browser would dispatch it.
  .map((event): ServerSentEvent => ("data" in event ? event : { ...event, event: undefined }))
  .filter((event) => Object.values(event).some((value) => value !== undefined));

interface Received {
  events: EventSourceMessage[];
  comments: string[];
  retries: number[];
  errors: unknown[];
}

/** What the standard's parser makes of a stream, cut into pieces anywhere. */
function parse(stream: string, cuts: readonly number[] = []): Received {
  const received: Received = { events: [], comments: [], retries: [], errors: [] };
  const parser = createParser({
    onEvent: (event) => received.events.push(event),
    onComment: (comment) => received.comments.push(comment),
    onRetry: (retry) => received.retries.push(retry),
    onError: (error) => received.errors.push(error),
  });
  let start = 0;
  for (const cut of [...cuts.map((share) => Math.floor(share * stream.length)), stream.length].sort((a, b) => a - b)) {
    parser.feed(stream.slice(start, cut));
    start = cut;
  }
  return received;
}

const lf = (value: string): string => value.replace(/\r\n|\r/g, "\n");
const asText = (data: unknown): string => lf(typeof data === "string" ? data : JSON.stringify(data));
/** The parser strips the byte order mark, at the beginning of the stream alone; no frame begins with one. */
const last = encodeEvent("the last");

describe("what was encoded is parsed", () => {
  it("character for character, whatever the line ending and wherever the stream is cut", () => {
    fc.assert(
      fc.property(
        fc.array(anyEvent, { minLength: 1, maxLength: 5 }),
        lineEnding,
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 5 }),
        (events, ending, cuts) => {
          const stream = events.map((event) => encodeEvent(event, { lineEnding: ending })).join("") + last;
          const received = parse(stream, cuts);
          const dispatched = events.filter((event) => event.data !== undefined);
          expect(received.errors).toEqual([]);
          expect(received.events).toEqual([
            ...dispatched.map(({ id, event, data }) => ({
              id: id === undefined ? undefined : String(id),
              event: event === "" ? undefined : event,
              data: asText(data),
            })),
            { id: undefined, event: undefined, data: "the last" },
          ]);
          expect(received.comments).toEqual(
            events.flatMap(({ comment }) => (comment === undefined ? [] : lf(comment).split("\n"))),
          );
          expect(received.retries).toEqual(events.flatMap(({ retry }) => (retry === undefined ? [] : [retry])));
        },
      ),
      { numRuns: 500 },
    );
  });

  it("for each item that is data by itself", () => {
    fc.assert(
      fc.property(fc.oneof(text, fc.double(), fc.boolean(), fc.bigInt()), (item) => {
        const data = typeof item === "bigint" ? String(item) : asText(item);
        expect(parse(encodeEvent(item)).events).toEqual([{ id: undefined, event: undefined, data }]);
      }),
    );
  });
});

describe("no input forges a field or an event", () => {
  /** A frame read without mercy: its lines, and the one blank line at its end. */
  function linesOf(frame: string): string[] {
    const lines = frame.split(/\r\n|\n|\r/);
    expect(lines.splice(-2)).toEqual(["", ""]);
    return lines;
  }

  const anything = fc.oneof(text, fc.anything({ withBigInt: true, withDate: true, withSparseArray: true }));

  it("and whatever is given, the frame holds what the fields say or nothing is made", () => {
    fc.assert(
      fc.property(
        fc.record(
          { comment: anything, id: anything, event: anything, data: anything, retry: anything },
          { requiredKeys: [] },
        ),
        lineEnding,
        (event, ending) => {
          let frame: string;
          try {
            frame = encodeEvent(event as ServerSentEvent, { lineEnding: ending });
          } catch (error) {
            expect(error).toBeInstanceOf(EventStreamError);
            return;
          }
          const counts = { comment: 0, id: 0, event: 0, data: 0, retry: 0 };
          for (const line of linesOf(frame)) {
            const field = line.slice(0, line.indexOf(": "));
            counts[(field === "" ? "comment" : field) as keyof typeof counts] += 1;
          }
          const { comment, id, event: type, data, retry } = event;
          expect(counts).toEqual({
            comment: comment === undefined ? 0 : lf(comment as string).split("\n").length,
            id: id === undefined ? 0 : 1,
            event: type === undefined ? 0 : 1,
            data: data === undefined ? 0 : typeof data === "string" ? lf(data).split("\n").length : 1,
            retry: retry === undefined ? 0 : 1,
          });
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it("and an item of any kind is sent or refused by an EventStreamError", () => {
    fc.assert(
      fc.property(
        fc.anything({
          withBigInt: true,
          withDate: true,
          withMap: true,
          withSet: true,
          withTypedArray: true,
          withNullPrototype: true,
          withSparseArray: true,
          withBoxedValues: true,
        }),
        (item) => {
          try {
            linesOf(encodeEvent(item as ServerSentEvent));
          } catch (error) {
            expect(error).toBeInstanceOf(EventStreamError);
          }
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it("and no event is changed", () => {
    fc.assert(
      fc.property(anyEvent, (event) => {
        const before = structuredClone(event);
        encodeEvent(Object.freeze(event));
        expect(event).toEqual(before);
      }),
    );
  });
});
