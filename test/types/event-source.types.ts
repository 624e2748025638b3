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
  type ServerSentEvent,
} from "express-event-source";

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
