/**
 * Compiled, never run: by `tsc -p .` with the project's own settings, and by typings.test.ts as users
 * compile it, with @types/express 5 and 4.
 */
import { EventEmitter, on } from "node:events";
import { PassThrough } from "node:stream";
import express, { type NextFunction, type Request, type RequestHandler, type Response } from "express";
import {
  type EventSourceOptions,
  type EventStream,
  type EventStreamItem,
  type EventStreamSource,
  encodeEvent,
  eventSource,
  memoryBroker,
  type PublishedEvent,
  type ServerSentEvent,
} from "express-event-source";
import type { PostgresBroker, TransactionOptions } from "express-event-source/postgres";

/** Compiles only where both types are the same one; `any` is the same as `any` alone. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
declare function same<A, B>(proof: Same<A, B>): void;

interface Price {
  readonly symbol: string;
  readonly euros: number;
}
declare function prices(): AsyncGenerator<Price, void, undefined>;
declare function events(): AsyncGenerator<{ id: number; data: { n: number } }, void, undefined>;
declare const completion: AsyncIterable<{ readonly choices: readonly string[] }>;

class Row {
  constructor(
    readonly id: number,
    readonly title: string,
  ) {}
}
class Stored {
  constructor(
    readonly id: number,
    readonly data: string,
  ) {}
  save(): void {}
}

const app = express();

// ---- the request: its parameters are strings, never any ----

app.get(
  "/users/:id",
  eventSource((req, stream) => {
    same<typeof req.params, Record<string, string>>(true);
    same<typeof stream, EventStream>(true);
    const id: string | undefined = req.params.id;
    return id === "7" ? events() : null;
  }),
);
app.get(
  "/users/:id",
  eventSource(async function* (req, { signal, shutdown, lastEventId, response }) {
    same<typeof signal, AbortSignal>(true);
    same<typeof shutdown, AbortSignal>(true);
    same<typeof lastEventId, string | undefined>(true);
    same<typeof response, Response>(true);
    // @ts-expect-error a parameter is a string
    const id: number = req.params.id;
    yield { data: id };
  }),
);
app.get(
  "/users/:id",
  eventSource<{ id: string }>((req) => {
    same<typeof req.params, { id: string }>(true);
    const id: string = req.params.id;
    // @ts-expect-error the route has no such parameter
    void req.params.name;
    return [id];
  }),
);
app.get(
  "/users/:id",
  eventSource((req: Request<{ id: string }>) => [req.params.id.length]),
);

// ---- the item type reaches toEvent ----

app.get(
  "/prices",
  eventSource(prices, {
    toEvent: (price) => {
      same<typeof price, Price>(true);
      return { data: price };
    },
  }),
);
app.get(
  "/prices/:symbol",
  eventSource(
    async function* (req) {
      yield { symbol: req.params.symbol, euros: 9 };
    },
    {
      toEvent: (price) => {
        same<typeof price.euros, number>(true);
        return { data: price.euros };
      },
    },
  ),
);
app.get(
  "/prices/:symbol",
  eventSource<{ symbol: string }, Price>(
    (req) => {
      same<typeof req.params, { symbol: string }>(true);
      return prices();
    },
    {
      toEvent: (price) => {
        same<typeof price, Price>(true);
        return { data: price };
      },
    },
  ),
);
eventSource(async () => prices(), { toEvent: ({ euros }) => euros });
eventSource([1, 2], { toEvent: (n) => n.toFixed(2) });
eventSource([Promise.resolve(1)], { toEvent: (n) => n.toFixed(2) });
eventSource(on(new EventEmitter(), "price"), { toEvent: ([price]) => ({ data: price }) });
eventSource(prices, {
  toEvent: (price) => ({ data: price }),
  onError: () => ({ event: "failure", data: "" }),
  pingInterval: 5_000,
});
const forPrices = { toEvent: (price: Price) => ({ data: price }) };
eventSource(prices, forPrices);

// ---- what can be a source ----

eventSource(events);
eventSource(events());
eventSource([1, "two", 3n, true, { data: 5 }, { comment: "six" }, new Uint8Array()]);
eventSource(new Set(["a"]));
eventSource([Promise.resolve("a"), "b"]);
eventSource(new PassThrough({ objectMode: true }));
eventSource(() => new PassThrough({ objectMode: true }));
eventSource([new Stored(1, "methods do no harm")]);
eventSource([] as PublishedEvent<{ event: "a"; data: number } | { event: "b"; data: string }>[]);
eventSource(async function* ({ query }) {
  if (query.brief === undefined) yield { id: 1, event: "a", data: 1 };
  else yield { comment: "nothing" };
  yield "text";
});
eventSource(async function* (): AsyncGenerator<ServerSentEvent> {});
eventSource({} as AsyncIterable<any>);
eventSource(() => null);
// @ts-expect-error -- a function that forgot to return
eventSource(() => undefined);
// @ts-expect-error -- the same, for void
eventSource((req) => void req.on("close", () => {}));
eventSource(async () => null);
eventSource(async (req) => (req.query.empty === "" ? null : events()));
eventSource(async ({ body }: Request) => [body.text as string]);
const source: EventStreamSource = events;
eventSource(source);
const optional: EventSourceOptions = {};
eventSource(events, optional);
eventSource(events, {
  headers: { "Cache-Control": undefined, "Set-Cookie": ["a=1", "b=2"] },
  retry: () => 1_000,
  pingInterval: false,
  sendTimeout: false,
});

// @ts-expect-error objects of one's own need toEvent
eventSource(prices);
// @ts-expect-error objects of one's own need toEvent
eventSource(prices());
// @ts-expect-error objects of one's own need toEvent
eventSource(async () => prices());
// @ts-expect-error objects of one's own need toEvent, and these options need not have it
eventSource(prices, {} as EventSourceOptions<Price>);
// @ts-expect-error objects of one's own need toEvent
eventSource(async function* () {
  yield { symbol: "A" };
});
// @ts-expect-error a row that shares a key with an event is none
eventSource(async function* () {
  yield { id: 1, title: "x" };
});
// @ts-expect-error the same, where the title may be missing
eventSource([] as { id: number; title?: string }[]);
// @ts-expect-error the same, for an instance
eventSource([new Row(1, "x")]);
// @ts-expect-error no browser dispatches it
eventSource(async function* () {
  yield { event: "halt" };
});
// @ts-expect-error arrays, as events.on() yields them, need toEvent
eventSource(on(new EventEmitter(), "price"));
// @ts-expect-error null is no event
eventSource(async function* () {
  yield null;
});
// @ts-expect-error a string's letters are no events
eventSource("text");
// @ts-expect-error a string's letters are no events
eventSource(() => "text");
// @ts-expect-error a string's letters are no events
eventSource(async () => "text");
// @ts-expect-error null is for a function to return
eventSource(null);
// @ts-expect-error a number is no source
eventSource(5);
// @ts-expect-error a number is no source
eventSource(() => 5);
// @ts-expect-error a promise is for a function to return
eventSource(Promise.resolve([1]));

// ---- options ----

// @ts-expect-error
eventSource(events, { pingInterval: "5" });
// @ts-expect-error
eventSource(events, { lineEnding: "\n\r" });
// @ts-expect-error
eventSource(events, { headers: new Map() });
// @ts-expect-error
eventSource(events, { ping: () => null });
// @ts-expect-error
eventSource(events, { retry: () => "5" });
// @ts-expect-error
eventSource(events, { toEvent: () => ({ price: 5 }) });
// @ts-expect-error
eventSource(events, { toEvent: (text: string) => text });
// @ts-expect-error
eventSource(events, { serialize: (data) => data });
// @ts-expect-error
eventSource(events, { pingIntervall: 5 });

// ---- the handler ----

app.use(eventSource(events));
app.use("/live", eventSource(events));
app.get(
  "/both/:id",
  (req, _res, next) => {
    same<typeof req.params.id, any>(false);
    next();
  },
  eventSource(events),
);
app
  .route("/route/:id")
  .get(eventSource((req) => [String(req.params.id)]))
  .post(eventSource(events));
express.Router().all("/all", eventSource(events));
const handler: RequestHandler = eventSource(events);
const paramsHandler: RequestHandler = eventSource((req) => [String(req.params.id)]);
app.get("/handlers", handler, paramsHandler);

app.post("/chat/:room", express.json(), async (req, res, next) => {
  const ended = eventSource(completion, { toEvent: (chunk) => ({ data: chunk }) })(req, res, next);
  same<typeof ended, Promise<void>>(true);
  await ended;
});
app.post("/chat/:room", async (req, res, next) => {
  await eventSource(() => [req.params.room])(req, res, next);
});
export async function chat(req: Request, res: Response, next: NextFunction): Promise<void> {
  await eventSource(completion, { toEvent: (chunk) => ({ data: chunk }) })(req, res, next);
  await eventSource((same) => [String(same.params.id)])(req, res, next);
}
export async function chatIn(req: Request<{ room: string }>, res: Response, next: NextFunction): Promise<void> {
  await eventSource(completion, { toEvent: (chunk) => ({ data: chunk }) })(req, res, next);
}

// ---- events ----

const event: ServerSentEvent = { data: { any: "thing" }, event: "price", id: 7, retry: 5, comment: "c" };
const items: EventStreamItem[] = [event, "a", 1, 2n, false, new Uint8Array()];
same<ReturnType<typeof encodeEvent>, string>(true);
encodeEvent(event, { lineEnding: "\r\n" });
void items;
// @ts-expect-error bytes are encoded already
encodeEvent(new Uint8Array());
// @ts-expect-error
encodeEvent({ data: 1, name: "price" });
// @ts-expect-error
encodeEvent({ id: 5n });
// @ts-expect-error
encodeEvent({ retry: "5" });
// @ts-expect-error an event is never changed
event.data = 5;

// ---- what can be published ----

const broker = memoryBroker();
declare const row: { readonly id: number; readonly title: string };
declare const priceOrHalt: { event: "price"; data: number } | { event: "halt"; data: string };
void broker.publish("prices", { event: "price", data: 1 });
void broker.publish("prices", { data: 1, id: undefined });
void broker.publish("prices", { comment: "nothing", retry: 5 });
void broker.publish("prices", priceOrHalt);
void broker.publish("prices", new Row(1, "x") as any);
// @ts-expect-error a row is no event
void broker.publish("prices", row);
// @ts-expect-error the broker gives the ids
void broker.publish("prices", { id: "1", data: 1 });
// @ts-expect-error the broker gives the ids, and this may have one
void broker.publish("prices", event);
// @ts-expect-error no browser dispatches it
void broker.publish("prices", { event: "halt" });
// @ts-expect-error text is no event
void broker.publish("prices", "text");

const typed = memoryBroker<{ event: "price"; data: number } | { event: "halt"; data: string }>();
void typed.publish("prices", { event: "halt", data: "" });
void typed.publish("prices", priceOrHalt);
const more = { event: "halt" as const, data: "", more: 1 };
// @ts-expect-error not a field of an event
void typed.publish("prices", more);
// @ts-expect-error another event's data
void typed.publish("prices", { event: "halt", data: 5 });
// @ts-expect-error none of its events
void typed.publish("prices", { event: "other", data: 5 });

void typed.publishAll("prices", [{ event: "halt", data: "" }]);
void typed.publishAll("prices", [priceOrHalt]);
void typed.produce("prices", async function* ({ signal }) {
  same<typeof signal, AbortSignal>(true);
  yield { event: "price", data: 5 };
  yield { event: "halt", data: "" };
});
// A generator that may yield any event is checked at run time.
declare function anyEvents(): AsyncGenerator<ServerSentEvent>;
void broker.publishAll("prices", anyEvents());
void broker.produce("prices", async () => anyEvents());
// @ts-expect-error a row is no event
void broker.publishAll("prices", [row]);
// @ts-expect-error the broker gives the ids
void broker.publishAll("prices", [{ id: 1, data: row }]);
void broker.produce(
  "prices",
  // @ts-expect-error a row is no event
  async function* () {
    yield row;
  },
);
void broker.produce(
  "prices",
  // @ts-expect-error no browser dispatches it
  function* () {
    yield { event: "halt" };
  },
);
void typed.produce(
  "prices",
  // @ts-expect-error another event's data
  function* () {
    yield { event: "halt" as const, data: 5 };
  },
);

declare const postgres: PostgresBroker;
declare const client: TransactionOptions["client"];
same<ReturnType<typeof postgres.migrate>, Promise<void>>(true);
void postgres.publish("prices", priceOrHalt).then((id: string) => id);
void postgres.publish("prices", { data: 1 }, { client }).then((nothing: void) => nothing);
// @ts-expect-error a row is no event
void postgres.publish("prices", row);
// @ts-expect-error a row is no event in a transaction either
void postgres.publish("prices", row, { client });

// ---- a subscription with something in its place ----

interface Message extends ServerSentEvent {
  readonly event: "message";
  readonly data: { readonly text: string };
}
const messages = memoryBroker<Message>();

eventSource((_req, stream) => messages.subscribe("a", stream).catch(() => [{ retry: 5_000 }]));
eventSource((_req, stream) => messages.subscribe("a", stream).catch(() => null));
// @ts-expect-error a row is no event
eventSource((_req, stream) => messages.subscribe("a", stream).catch(() => [{ title: "x" }]));
