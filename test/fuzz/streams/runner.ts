import { channel } from "node:diagnostics_channel";
import { getEventListeners } from "node:events";
import { createServer, type Server } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import compression from "compression";
import express, { type NextFunction, type Request, type RequestHandler, type Response } from "express";
import { eventSource, type EventSourceOptions, type EventStream, type StreamSummary } from "express-event-source";
import { watchListeners } from "../../support/listeners.js";
import { credentials } from "../../support/tls.js";
import { Client } from "./client.js";
import { mustEnd } from "./model.js";
import type { OptionsProgram, StreamProgram } from "./program.js";
import { openSource, SourceTrace } from "./source.js";

/** One request, as the server has seen it. */
export class Exchange {
  readonly source: SourceTrace = new SourceTrace();
  readonly summaries: StreamSummary[] = [];
  readonly passedOn: unknown[] = [];
  stream: EventStream | undefined;
  /** Whether the stream announced that its head was written. */
  isOpen = false;
  state: "arriving" | "refused" | "running" | "resolved" | "rejected" = "arriving";
  /** What the handler's promise rejected with. */
  rejection: unknown;
  /** What the program's server events did to the response while the stream ran. */
  readonly disturbed: string[] = [];
  /** Which listeners have been added since the handler was called. */
  leaks: () => string[] = () => [];

  constructor(
    readonly request: Request,
    readonly response: Response,
  ) {}
}

/** What a run of a program showed. */
export interface Trace {
  readonly exchanges: readonly Exchange[];
  readonly received: Buffer;
  readonly clientHasLeft: boolean;
  /** Whether the server began to close, or the shutdown signal aborted, before all streams were over. */
  readonly hasShutDown: boolean;
  /** How many errors of hooks became warnings of the process. */
  readonly warnings: number;
  /** What took too long, or was left over. */
  readonly problems: readonly string[];
}

const middlewareError: Error = new Error("a middleware fails");

/** The error with which the hooks of one program fail on purpose. */
class HookError extends Error {
  /** How often the library could report this error only as a warning of the process. */
  warnings = 0;
}

const { emitWarning } = process;
process.emitWarning = ((...warning: Parameters<typeof emitWarning>) => {
  if (warning[0] instanceof HookError) warning[0].warnings += 1;
  else emitWarning.apply(process, warning);
}) as typeof emitWarning;

/** How much longer everything may take on a busy machine, in milliseconds. */
export const slack = 4_000;

const opened = new WeakMap<object, Exchange>();
channel("express-event-source:open").subscribe((message) => {
  const exchange = opened.get((message as { request: object }).request);
  if (exchange !== undefined) exchange.isOpen = true;
});

/** Runs a program on sockets of its own. */
export async function runStreams(program: StreamProgram): Promise<Trace> {
  const { options, events, finish } = program;
  const exchanges: Exchange[] = [];
  const problems: string[] = [];
  const shutdown = new AbortController();
  const hookError = new HookError("a hook fails");
  let hasAborted = false;
  /** Whether a stream ran during `server.close()`. If not, only Node waits, for a connection that is kept alive. */
  let closesStreams = false;
  let isClosing = false;
  let whoNoticed = (): void => {};
  const changed = (): void => whoNoticed();

  const app = appOf(program, shutdown.signal, hookError, changed, (exchange) => {
    exchanges.push(exchange);
    closesStreams ||= isClosing;
  });
  const server: Server = program.secure ? createSecureServer(await credentials, app) : createServer(app);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const serverListeners = watchListeners(server);
  const client = new Client(program.client, (server.address() as AddressInfo).port, program.secure);
  void client.over.then(changed);

  let closing = Infinity;
  const close = (): void => {
    closesStreams ||= running().length > 0;
    if (isClosing) return;
    isClosing = true;
    const began = performance.now();
    server.close(() => {
      closing = performance.now() - began;
      changed();
    });
  };
  const running = (): Exchange[] => exchanges.filter(({ state }) => state === "running" || state === "arriving");
  const isQuiet = (): boolean =>
    running().length === 0 &&
    (client.isOver || (exchanges.length === client.requests && program.client.leaves === undefined));

  /** Resolves with true as soon as `isSo` returns true, or with false after `limit` milliseconds. */
  const until = async (isSo: () => boolean, limit: number): Promise<boolean> => {
    const end = performance.now() + limit;
    while (!isSo() && performance.now() < end) {
      await Promise.race([new Promise<void>((resolve) => (whoNoticed = resolve)), sleep(5)]);
    }
    return isSo();
  };

  const timers = events.map(({ after, what }) =>
    setTimeout(() => {
      const [exchange] = running();
      if (what === "server.close()") close();
      else if (what === "shutdownSignal") {
        hasAborted = true;
        shutdown.abort();
      } else if (exchange !== undefined) {
        exchange.disturbed.push(what);
        exchange.response[what === "res.end()" ? "end" : "destroy"]();
      }
    }, after),
  );

  const isOver = await until(isQuiet, mustEnd(program) ? slack : 45);
  if (!isOver && mustEnd(program)) problems.push("A stream that had to end by itself did not.");
  for (const timer of timers) clearTimeout(timer);
  if (!isOver && (finish === "the client leaves" || !options.endOnServerClose)) {
    client.leave("close");
    if (!(await until(() => running().length === 0, slack))) problems.push("A stream outlives its client.");
  }
  // Give the answers that are on their way time to arrive.
  for (let turns = 0; turns < 3; turns++) await turn();
  const limit = options.shutdownGracePeriod + 1_000 + 500;
  close();
  await until(() => closing < Infinity, limit + 2_000);
  if (closesStreams && options.endOnServerClose && closing > limit)
    problems.push(`server.close() took ${Math.round(closing)} ms.`);
  server.closeAllConnections();
  if (!(await until(() => running().length === 0, slack))) problems.push("A handler's promise never settled.");
  await until(() => client.isOver, slack);
  client.close();

  for (const { source } of exchanges) source.stopped.abort();
  const leaks = (): string[] => [
    // Compression never removes this listener, which it has added itself.
    ...exchanges
      .flatMap((exchange) => exchange.leaks())
      .filter((name) => program.middleware !== "compression" || name !== "ServerResponse drain"),
    ...serverListeners(),
    ...getEventListeners(shutdown.signal, "abort").map(() => "AbortSignal abort"),
  ];
  if (!(await until(() => leaks().length === 0 || running().length > 0, slack)))
    problems.push(`Listeners are left: ${leaks().join(", ")}.`);
  return {
    exchanges,
    received: client.received,
    clientHasLeft: client.hasLeft,
    hasShutDown: hasAborted || closesStreams,
    warnings: hookError.warnings,
    problems,
  };
}

function appOf(
  program: StreamProgram,
  shutdownSignal: AbortSignal,
  hookError: HookError,
  changed: () => void,
  begun: (exchange: Exchange) => void,
): express.Express {
  const settings = optionsOf(program, shutdownSignal, hookError);
  const app = express();
  app.disable("x-powered-by");
  const wrappers = middlewares[program.middleware];
  const arrived = new WeakMap<Request, Exchange>();
  app.use((request, response, next) => {
    const exchange = new Exchange(request, response);
    arrived.set(request, exchange);
    begun(exchange);
    next();
  });
  const answer: RequestHandler = (request, response, next) => {
    const exchange = arrived.get(request) as Exchange;
    const looks = [request, response, request.socket].map(watchListeners);
    exchange.leaks = () => looks.flatMap((look) => look());
    exchange.state = "running";
    opened.set(request, exchange);
    const handler = eventSource(
      (_request: Request, stream: EventStream) => {
        exchange.stream = stream;
        return openSource(program.source, stream, exchange.source, program.options.toEvent !== "none") as [];
      },
      { ...settings, onClose: onClose(program.options, exchange, hookError) },
    );
    const hearsErrors: NextFunction = (error: unknown) => {
      exchange.passedOn.push(error);
      next(error);
    };
    (program.next
      ? handler(request, response, hearsErrors)
      : (handler as (...args: unknown[]) => Promise<void>)(request, response)
    )
      .then(
        () => (exchange.state = "resolved"),
        (error: unknown) => {
          exchange.state = "rejected";
          exchange.rejection = error;
          next(error);
        },
      )
      .finally(changed);
  };
  app.all("/", ...wrappers, answer);
  app.all("/parsed", express.json(), ...wrappers, answer);
  app.use((_error: unknown, request: Request, response: Response, _next: NextFunction) => {
    const exchange = arrived.get(request) as Exchange;
    if (exchange.state === "arriving") exchange.state = "refused";
    if (!response.headersSent && !response.destroyed) response.status(500).type("text").end("failed");
  });
  return app;
}

const middlewares: Readonly<Record<StreamProgram["middleware"], RequestHandler[]>> = {
  none: [],
  compression: [compression({ threshold: 0 })],
  "write returns nothing": [
    (_request, response, next) => {
      const write = response.write.bind(response);
      response.write = ((...args: Parameters<typeof write>) => void write(...args)) as unknown as typeof write;
      next();
    },
  ],
  "write throws": [
    (_request, response, next) => {
      const write = response.write.bind(response);
      let calls = 0;
      response.write = ((...args: Parameters<typeof write>) => {
        if (++calls > 2) throw middlewareError;
        return write(...args);
      }) as typeof write;
      next();
    },
  ],
  "wraps write and end": [
    (_request, response, next) => {
      const write = response.write.bind(response);
      const end = response.end.bind(response);
      response.write = ((...args: Parameters<typeof write>) => write(...args)) as typeof write;
      response.end = ((...args: Parameters<typeof end>) => end(...args)) as typeof end;
      next();
    },
  ],
};

function onClose(
  { onClose }: OptionsProgram,
  exchange: Exchange,
  hookError: HookError,
): (summary: StreamSummary) => void {
  return (summary) => {
    exchange.summaries.push(summary);
    return result(onClose, undefined, hookError);
  };
}

/** Acts as a hook: returns `value`, or fails in the way that `how` says. */
function result<T>(how: string, value: T, hookError: HookError): T {
  if (how === "throws") throw hookError;
  return how === "rejects" ? (Promise.reject(hookError) as T) : value;
}

function optionsOf(
  { options, middleware }: StreamProgram,
  shutdownSignal: AbortSignal,
  hookError: HookError,
): EventSourceOptions {
  const { ping, retry, toEvent, onError, ...plain } = options;
  const farewell = {
    event: { event: "failed", data: "sorry" },
    invalid: { data: 1, id: null } as never,
    nothing: undefined,
    throws: undefined,
    rejects: undefined,
  };
  let unwrapped = 0;
  const unwrap = (value: object): never => {
    if (toEvent === "throws" && ++unwrapped > 1) throw hookError;
    return ("wrapped" in value ? value.wrapped : value) as never;
  };
  return {
    ...plain,
    shutdownSignal,
    headers: middleware === "compression" ? { "Cache-Control": "no-store" } : undefined,
    ping:
      ping === "default"
        ? undefined
        : () => result(ping, ping === "invalid" ? (null as never) : { event: "tick", data: "" }, hookError),
    retry: retry === "none" ? undefined : retry === "number" ? 1_234 : () => result(retry, 1_233.6, hookError),
    toEvent: toEvent === "none" ? undefined : unwrap,
    onError: onError === "none" ? undefined : () => result(onError, farewell[onError], hookError),
  } as object;
}
