import express, { type NextFunction, type Request, type RequestHandler, type Response } from "express";
import { eventSource, type EventSourceOptions, type EventStream, type StreamSummary } from "express-event-source";
import { createServer, type Server } from "node:http";
import type { Socket } from "node:net";
import { afterEach, beforeEach, expect, vi } from "vitest";
import { watchListeners } from "./listeners.js";
import { serve } from "./server.js";

// Captured when the module loads, so that fake timers affect only the library.
const { setTimeout } = globalThis;
const now = performance.now.bind(performance);

/** Resolves when `isSo` returns true. The time limit only keeps a test from hanging. */
export async function until(isSo: () => boolean): Promise<void> {
  const start = now();
  while (!isSo()) {
    if (now() - start > 30_000) throw new Error(`It never came to ${String(isSo)}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Resolves in the next turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

/**
 * Resolves in a turn whose allowance (see `turn.ts`) none of the turns before has spent. One turn is not enough: on a
 * busy machine, an item may spend the allowance of the turn after its own too.
 */
export async function freshTurn(): Promise<void> {
  await turn();
  await turn();
}

/**
 * Resolves when `count` stands still through many turns of the event loop. No time is measured, because a busy machine
 * may do something else meanwhile.
 */
export async function standsStill(count: () => number): Promise<void> {
  let before = count();
  let looks = 0;
  await until(() => {
    looks = count() === before ? looks + 1 : 0;
    before = count();
    return looks === 25;
  });
}

/** A promise that is resolved from outside. */
export class Gate<T = void> {
  open!: (value: T) => void;
  readonly opened: Promise<T> = new Promise((resolve) => (this.open = resolve));
}

/** Resolves when `signal` aborts, or has aborted: a client may have an item before its source goes on. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** Rejects when `signal` aborts or has aborted, like most functions that take a signal. */
export async function failOnAbort(signal: AbortSignal): Promise<never> {
  await aborted(signal);
  throw new Error("aborted");
}

/** A source that yields "hello" and then waits until its signal aborts. */
export async function* endless(_req: unknown, { signal }: { signal: AbortSignal }): AsyncGenerator<string> {
  yield "hello";
  await aborted(signal);
}

/** Fails each test of the calling file in which Node emits a warning, such as one about too many listeners. */
export function failOnWarnings(): void {
  const warnings: Error[] = [];
  const warned = (warning: Error): void => void warnings.push(warning);
  beforeEach(() => void process.on("warning", warned));
  afterEach(async () => {
    // A warning is emitted in the next tick.
    await new Promise((resolve) => setTimeout(resolve, 0));
    process.off("warning", warned);
    expect(warnings.splice(0)).toEqual([]);
  });
}

/** Fakes the timers that the library uses; `vi.getTimerCount()` tells how many of them are left at the end. */
export function fakeTimers(): void {
  beforeEach(
    () =>
      void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "performance"] }),
  );
  afterEach(() => void vi.useRealTimers());
}

type Iterables = AsyncIterable<unknown> | (Iterable<unknown> & object);
type Source = (req: Request, stream: EventStream) => Iterables | null | Promise<Iterables | null>;

/** A server with one route, `/`, and a record of everything that its streams leave behind. */
export class Stage {
  port = 0;
  url = "";
  readonly server: Server;
  readonly app: express.Express = express();
  /** The stream that the source function was given in each call. */
  readonly streams: EventStream[] = [];
  readonly summaries: StreamSummary[] = [];
  /** What `next` was called with. */
  readonly passedOn: unknown[] = [];
  readonly sockets = new Set<Socket>();
  /** How often an iterator's `return()` was called. */
  returns = 0;
  /** How many requests have reached the handler, and for how many of them the handler's promise has resolved. */
  begun = 0;
  over = 0;
  /** Listeners that a middleware adds, such as "ServerResponse drain". They do not count as leaked. */
  foreignListeners: readonly string[] = [];
  readonly #listeners: (() => string[])[] = [];

  constructor(
    source: Source,
    options: EventSourceOptions<never> = {},
    before: RequestHandler[] = [],
    server: Server = createServer(),
  ) {
    this.server = server;
    this.server.on("connection", (socket) => {
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
    });
    const open = (req: Request, stream: EventStream) => {
      this.streams.push(stream);
      const made = source(req, stream);
      return (
        made instanceof Promise ? made.then((iterable) => this.#counted(iterable)) : this.#counted(made)
      ) as AsyncIterable<never>;
    };
    const onClose = (summary: StreamSummary): void => {
      this.summaries.push(summary);
      // Pass on what the hook returns, because the library looks at that, too.
      return options.onClose?.(summary);
    };
    const handler = eventSource(open, { ...options, onClose });
    this.app.all("/", ...before, async (req: Request, res: Response, next: NextFunction) => {
      this.begun += 1;
      for (const emitter of [req, res, req.socket]) this.#listeners.push(watchListeners(emitter));
      await handler(req, res, (error: unknown) => {
        this.passedOn.push(error);
        next(error);
      });
      this.over += 1;
    });
    this.app.use((error: unknown, _req: Request, res: Response, _next: NextFunction) => {
      if (!res.headersSent)
        res.status((error as { status?: number }).status ?? 500).send("the application's own words");
    });
  }

  async open(): Promise<this> {
    const { port, url } = await serve(this.app, this.server);
    return Object.assign(this, { port, url });
  }

  /** Names of events that have more listeners than before the handler was called. */
  get leakedListeners(): string[] {
    return this.#listeners.flatMap((look) => look()).filter((name) => !this.foreignListeners.includes(name));
  }

  /** Waits for the end of the only stream, and expects that it ended for `reason` and that nothing of it is left. */
  async hasEnded(reason: StreamSummary["reason"], { returns = 1 } = {}): Promise<StreamSummary> {
    await until(() => this.over === 1);
    expect(this.summaries.map((summary) => summary.reason)).toEqual([reason]);
    expect(this.streams.map(({ signal }) => signal.reason as unknown)).toEqual([reason]);
    expect(this.returns).toBe(returns);
    await this.leavesNothing();
    return this.summaries[0] as StreamSummary;
  }

  async leavesNothing(): Promise<void> {
    // Node's own waiting takes a while, such as that of `destroySoon` for a last write.
    await until(() => this.leakedListeners.length === 0 || this.sockets.size === 0);
    expect(this.leakedListeners).toEqual([]);
    if (vi.isFakeTimers()) expect(vi.getTimerCount()).toBe(0);
  }

  #counted(iterable: Iterables | null | undefined): Iterables | null | undefined {
    if (iterable === null || iterable === undefined) return iterable;
    const count = <T>(iterator: T): T =>
      new Proxy(iterator as object, {
        get: (target, name) => {
          const value: unknown = Reflect.get(target, name, target);
          if (typeof value !== "function") return value;
          if (name === "return") this.returns += 1;
          return value.bind(target) as unknown;
        },
      }) as T;
    if (Symbol.asyncIterator in iterable)
      return { [Symbol.asyncIterator]: () => count(iterable[Symbol.asyncIterator]()) };
    return { [Symbol.iterator]: () => count(iterable[Symbol.iterator]()) };
  }
}

/** A stage that listens. */
export function stage(
  source: Source,
  options?: EventSourceOptions<never>,
  before?: RequestHandler[],
  server?: Server,
): Promise<Stage> {
  return new Stage(source, options, before, server).open();
}
