import fc from "fast-check";

/** What passes before an item comes: nothing, a turn of the event loop, or a number of milliseconds. */
export type Pause = "none" | "turn" | number;

export type ItemKind =
  | "event"
  | "text"
  | "lines"
  | "number"
  | "comment"
  | "big"
  | "slow"
  | "bytes"
  | "half a frame"
  | "no bytes"
  | "invalid";

export interface SourceProgram {
  readonly shape:
    | "async generator"
    | "async iterator"
    | "sync iterable"
    | "iterable of promises"
    | "web stream"
    | "node stream"
    | "subscription";
  /** What the application's source function does. */
  readonly opening:
    "returns" | "promises" | "promises late" | "null" | "undefined" | "throws" | "rejects" | "rejects late";
  readonly items: readonly { readonly kind: ItemKind; readonly pause: Pause }[];
  readonly end: "ends" | "throws" | "is always ready" | "waits for the signal" | "waits for ever";
  /** How `return()` behaves, if the source's shape leaves that to the application. */
  readonly onReturn: "quick" | "slow" | "throws" | "rejects" | "hangs" | "missing";
}

export interface ClientProgram {
  readonly version: "1.0" | "1.1";
  /** Sent at once, one after the other, without waiting for answers. */
  readonly requests: readonly ("GET" | "HEAD" | "POST" | "POST unread")[];
  readonly reads: "all" | "slowly" | "until it stalls";
  readonly leaves: { readonly after: number; readonly how: "close" | "reset" | "half-close" } | undefined;
}

export interface ServerEvent {
  readonly after: number;
  readonly what: "server.close()" | "shutdownSignal" | "res.end()" | "res.destroy()";
}

export interface OptionsProgram {
  readonly pingInterval: number | false;
  readonly ping: "default" | "event" | "throws" | "rejects" | "invalid";
  readonly lineEnding: "\n" | "\r\n" | "\r";
  readonly retry: "none" | "number" | "function" | "throws";
  readonly toEvent: "none" | "unwraps" | "throws";
  readonly sendTimeout: number | false;
  readonly maxDuration: number | undefined;
  readonly shutdownGracePeriod: number;
  readonly endOnServerClose: boolean;
  readonly onError: "none" | "event" | "nothing" | "throws" | "rejects" | "invalid";
  readonly onClose: "plain" | "throws" | "rejects";
}

/** One server with one route, one connection to it, and what happens to both. */
export interface StreamProgram {
  readonly secure: boolean;
  readonly middleware: "none" | "compression" | "write returns nothing" | "write throws" | "wraps write and end";
  /** Whether the handler is given `next`. */
  readonly next: boolean;
  readonly source: SourceProgram;
  readonly client: ClientProgram;
  readonly events: readonly ServerEvent[];
  readonly options: OptionsProgram;
  /** What ends a program that would go on for ever. */
  readonly finish: "the client leaves" | "the server closes";
}

/** Mostly `plain`, to which a failing program shrinks. It is as likely as `weight` of the others together. */
function mostly<const T>(weight: number, plain: T, ...others: readonly T[]): fc.Arbitrary<T> {
  return fc.oneof(
    { weight, arbitrary: fc.constant(plain) },
    ...others.map((other) => ({ weight: 1, arbitrary: fc.constant(other) })),
  );
}

const item = fc.record({
  kind: mostly<ItemKind>(
    3,
    "event",
    "text",
    "lines",
    "number",
    "comment",
    "big",
    "slow",
    "bytes",
    "half a frame",
    "no bytes",
    "invalid",
  ),
  pause: mostly<Pause>(4, "none", "turn", 1, 6),
});

const source: fc.Arbitrary<SourceProgram> = fc.record({
  shape: fc.constantFrom<SourceProgram["shape"][]>(
    "async generator",
    "async iterator",
    "sync iterable",
    "iterable of promises",
    "web stream",
    "node stream",
    "subscription",
  ),
  opening: mostly<SourceProgram["opening"]>(
    14,
    "returns",
    "promises",
    "promises late",
    "null",
    "undefined",
    "throws",
    "rejects",
    "rejects late",
  ),
  items: fc.array(item, { maxLength: 6 }),
  end: mostly<SourceProgram["end"]>(3, "ends", "throws", "is always ready", "waits for the signal", "waits for ever"),
  onReturn: mostly<SourceProgram["onReturn"]>(3, "quick", "slow", "throws", "rejects", "hangs", "missing"),
});

const milliseconds = fc.constantFrom(0, 1, 3, 8, 15, 30);

const client: fc.Arbitrary<ClientProgram> = fc.record({
  version: mostly<ClientProgram["version"]>(12, "1.1", "1.0"),
  requests: fc.oneof(
    { weight: 3, arbitrary: fc.constant<ClientProgram["requests"]>(["GET"]) },
    {
      weight: 2,
      arbitrary: fc.array(mostly<ClientProgram["requests"][number]>(3, "GET", "HEAD", "POST", "POST unread"), {
        minLength: 1,
        maxLength: 4,
      }),
    },
  ),
  reads: mostly<ClientProgram["reads"]>(4, "all", "slowly", "until it stalls"),
  leaves: fc.option(
    fc.record({
      after: milliseconds,
      how: fc.constantFrom<("close" | "reset" | "half-close")[]>("close", "reset", "half-close"),
    }),
    {
      freq: 3,
      nil: undefined,
    },
  ),
});

const event: fc.Arbitrary<ServerEvent> = fc.record({
  after: milliseconds,
  what: fc.constantFrom<ServerEvent["what"][]>("server.close()", "shutdownSignal", "res.end()", "res.destroy()"),
});

const options: fc.Arbitrary<OptionsProgram> = fc.record({
  pingInterval: mostly<number | false>(2, false, 5, 1),
  ping: mostly<OptionsProgram["ping"]>(6, "default", "event", "throws", "rejects", "invalid"),
  lineEnding: mostly<OptionsProgram["lineEnding"]>(3, "\n", "\r\n", "\r"),
  retry: mostly<OptionsProgram["retry"]>(6, "none", "number", "function", "throws"),
  toEvent: mostly<OptionsProgram["toEvent"]>(6, "none", "unwraps", "throws"),
  sendTimeout: mostly<number | false>(2, 60_000, false, 40),
  maxDuration: mostly<number | undefined>(4, undefined, 20, 3_600_000),
  shutdownGracePeriod: mostly<number>(2, 0, 15),
  endOnServerClose: mostly<boolean>(8, true, false),
  onError: mostly<OptionsProgram["onError"]>(3, "none", "event", "nothing", "throws", "rejects", "invalid"),
  onClose: mostly<OptionsProgram["onClose"]>(6, "plain", "throws", "rejects"),
});

export const streamProgram: fc.Arbitrary<StreamProgram> = fc.record({
  secure: mostly<boolean>(5, false, true),
  middleware: mostly<StreamProgram["middleware"]>(
    8,
    "none",
    "compression",
    "write returns nothing",
    "write throws",
    "wraps write and end",
  ),
  next: mostly<boolean>(8, true, false),
  source,
  client,
  events: fc.oneof(
    { weight: 2, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(event, { minLength: 1, maxLength: 2 }) },
  ),
  options,
  finish: mostly<StreamProgram["finish"]>(4, "the client leaves", "the server closes"),
});
