import { Readable } from "node:stream";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { type Broker, type EventStream, memoryBroker } from "express-event-source";
import type { ItemKind, Pause, SourceProgram } from "./program.js";
import { work } from "./work.js";

/** The error of every source that fails on purpose. */
export const sourceError: Error = new Error("the source fails");

export interface Yielded {
  readonly kind: ItemKind;
  readonly value: unknown;
}

/** A record of how one request's source was used. */
export class SourceTrace {
  /** Items in the order in which they were handed out. */
  readonly yielded: Yielded[] = [];
  calls = 0;
  returns = 0;
  /** How many calls of `next()` are unanswered, and the most that were unanswered at once. */
  pending = 0;
  mostPending = 0;
  /** How the source ended by itself, after which `return()` must not be called. */
  over: "ended" | "threw" | undefined;
  /** Whether there was anything to return from, and whether `return()` came after the end all the same. */
  isMade = false;
  returnedAfterEnd = false;
  /** Whether the clean-up of a Node stream was run. `undefined` for other shapes. */
  isLetGo: boolean | undefined;
  subscription: AsyncIterable<unknown> | undefined;
  broker: Broker | undefined;
  /** Whether so many items were asked for that the event loop could not turn. */
  hasBlocked = false;
  /** Aborted at the end of the run, to end sources that would wait for ever. */
  readonly stopped = new AbortController();
}

const big = "x".repeat(70_000);

/** The nth item, as the source yields it. */
function valueOf(kind: ItemKind, n: number): unknown {
  switch (kind) {
    case "event":
    case "slow":
      return { id: n, event: "e", data: { n } };
    case "text":
      return `text ${n}`;
    case "lines":
      return { data: `line ${n}\r\n\nlast`, retry: n };
    case "number":
      return n;
    case "comment":
      return { comment: `comment ${n}\n${n}` };
    case "big":
      return { id: n, data: big };
    case "bytes":
      return Buffer.from(`data: bytes ${n}\n\n`);
    case "half a frame":
      return Buffer.from(`data: half ${n}`);
    case "no bytes":
      return new Uint8Array(0);
    case "invalid":
      return null;
  }
}

/** Makes the nth item. */
function make(kind: ItemKind, n: number, trace: SourceTrace): Yielded {
  if (!work(kind === "slow")) {
    trace.hasBlocked = true;
    throw sourceError;
  }
  return { kind, value: valueOf(kind, n) };
}

async function wait(pause: Pause, signal: AbortSignal): Promise<void> {
  if (pause === "turn") await turn();
  else if (pause !== "none") await sleep(pause, undefined, { signal }).catch(() => {});
}

/** The program's items, each with the pause before it, followed by endless others if the source is always ready. */
function* plan({ items, end }: SourceProgram): Generator<{ kind: ItemKind; pause: Pause; n: number }> {
  yield* items.map((item, n) => ({ ...item, n }));
  const kind = items.some((item) => item.kind === "slow") ? "slow" : "event";
  if (end === "is always ready") for (let n = items.length; ; n++) yield { kind, pause: "none", n };
}

/** Acts out what comes after the last item, if the source can wait. */
async function end(program: SourceProgram, stream: EventStream, trace: SourceTrace): Promise<void> {
  if (program.end === "throws") throw sourceError;
  if (program.end !== "waits for the signal" && program.end !== "waits for ever") return;
  const { signal } = program.end === "waits for ever" ? trace.stopped : stream;
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** Acts as the application's source function for one request: returns the source, or fails. */
export function openSource(program: SourceProgram, stream: EventStream, trace: SourceTrace, wrap: boolean): unknown {
  trace.calls += 1;
  const make = (): object => shapes[program.shape](program, stream, trace, wrap);
  switch (program.opening) {
    case "returns":
      return make();
    case "promises":
      return Promise.resolve().then(make);
    case "promises late":
      return sleep(4).then(make);
    case "null":
      return null;
    case "undefined":
      return undefined;
    case "throws":
      throw sourceError;
    case "rejects":
      return Promise.reject(sourceError);
    case "rejects late":
      return sleep(4).then(() => Promise.reject(sourceError));
  }
}

type Shape = (program: SourceProgram, stream: EventStream, trace: SourceTrace, wrap: boolean) => object;

async function* generate(program: SourceProgram, stream: EventStream, trace: SourceTrace): AsyncGenerator<Yielded> {
  for (const { kind, pause, n } of plan(program)) {
    await wait(pause, stream.signal);
    yield make(kind, n, trace);
  }
  await end(program, stream, trace);
}

function* generateNow(
  program: SourceProgram,
  isOfPromises: boolean,
  signal: AbortSignal,
  trace: SourceTrace,
): Generator<Yielded | Promise<Yielded>> {
  for (const { kind, pause, n } of plan(program)) {
    const item = make(kind, n, trace);
    yield isOfPromises ? wait(pause, signal).then(() => item) : item;
  }
  if (program.end === "throws") throw sourceError;
}

/** Counts what is asked of an iterator, and notes what it gives. */
function watched(
  iterator: AsyncIterator<Yielded> | Iterator<Yielded | Promise<Yielded>>,
  program: SourceProgram,
  trace: SourceTrace,
  wrap: boolean,
): object {
  const take = (result: IteratorResult<Yielded>): IteratorResult<unknown> => {
    if (result.done === true) trace.over = "ended";
    else trace.yielded.push(result.value);
    return result.done === true
      ? result
      : { done: false, value: wrap ? { wrapped: result.value.value } : result.value.value };
  };
  const threw = (error: unknown): never => {
    trace.over = "threw";
    throw error;
  };
  const answer = (result: IteratorResult<Yielded | Promise<Yielded>>): unknown => {
    if (result.done === true || !(result.value instanceof Promise)) return take(result as IteratorResult<Yielded>);
    return { done: false, value: result.value.then((value) => take({ done: false, value }).value as unknown) };
  };
  trace.isMade = true;
  const letGo = (): unknown => {
    trace.returns += 1;
    trace.returnedAfterEnd ||= trace.over !== undefined;
    return leave(iterator, program);
  };
  return {
    next: () => {
      trace.mostPending = Math.max(trace.mostPending, ++trace.pending);
      try {
        const result = iterator.next();
        if (!(result instanceof Promise)) return answer(result as IteratorResult<Yielded>);
        return result.then(take, threw).finally(() => (trace.pending -= 1));
      } catch (error) {
        return threw(error);
      } finally {
        if (!(Symbol.asyncIterator in iterator)) trace.pending -= 1;
      }
    },
    ...(program.onReturn === "missing" ? {} : { return: letGo }),
  };
}

/** Returns from the iterator, in the way that the program's `onReturn` says. */
function leave(iterator: AsyncIterator<unknown> | Iterator<unknown>, { onReturn }: SourceProgram): unknown {
  const left = iterator.return?.();
  if (onReturn === "throws") throw sourceError;
  if (onReturn === "rejects") return Promise.reject(sourceError);
  if (onReturn === "slow") return sleep(20).then(() => ({ done: true, value: undefined }));
  if (onReturn === "hangs") return new Promise(() => {});
  return left;
}

const shapes: Readonly<Record<SourceProgram["shape"], Shape>> = {
  "async generator": (program, stream, trace, wrap) => {
    const iterator = watched(generate(program, stream, trace), { ...program, onReturn: "quick" }, trace, wrap);
    return { [Symbol.asyncIterator]: () => iterator };
  },
  "async iterator": (program, stream, trace, wrap) => {
    const iterator = watched(generate(program, stream, trace), program, trace, wrap);
    return { [Symbol.asyncIterator]: () => iterator };
  },
  "sync iterable": (program, stream, trace, wrap) => {
    const iterator = watched(generateNow(program, false, stream.signal, trace), program, trace, wrap);
    return { [Symbol.iterator]: () => iterator };
  },
  "iterable of promises": (program, stream, trace, wrap) => {
    const iterator = watched(generateNow(program, true, stream.signal, trace), program, trace, wrap);
    return { [Symbol.iterator]: () => iterator };
  },
  "web stream": (program, stream, trace, wrap) => {
    const items = generate(program, stream, trace);
    return new ReadableStream(
      {
        async pull(controller) {
          const result = await items.next().catch((error: unknown) => {
            trace.over = "threw";
            throw error;
          });
          if (trace.returns > 0) return;
          if (result.done === true) {
            trace.over = "ended";
            return controller.close();
          }
          trace.yielded.push(result.value);
          controller.enqueue(wrap ? { wrapped: result.value.value } : result.value.value);
        },
        cancel: () => {
          trace.returns += 1;
        },
      },
      { highWaterMark: 0 },
    );
  },
  "node stream": (program, stream, trace, wrap) => {
    // Pushing null would end an object stream, so the invalid item is left out.
    const items = generate(
      { ...program, items: program.items.filter(({ kind }) => kind !== "invalid" || wrap) },
      stream,
      trace,
    );
    trace.isLetGo = false;
    return new Readable({
      objectMode: true,
      highWaterMark: 1,
      read() {
        items.next().then(
          ({ done, value }) => {
            if (done === true) return this.push(null);
            trace.yielded.push(value);
            this.push(wrap ? { wrapped: value.value } : value.value);
          },
          (error: Error) => this.destroy(error),
        );
      },
      destroy(error, done) {
        trace.isLetGo = true;
        done(program.onReturn === "throws" ? sourceError : error);
      },
    });
  },
  subscription: (program, stream, trace) => {
    const broker = (trace.broker = memoryBroker());
    void publish(broker, program, stream, trace);
    return broker.subscribe("channel", { signal: stream.signal, from: "start" }).then((subscription) => {
      trace.subscription = subscription;
      return subscription;
    });
  },
};

/** Publishes for a subscription, which can yield only events and never fails. */
async function publish(broker: Broker, program: SourceProgram, stream: EventStream, trace: SourceTrace): Promise<void> {
  for (const { kind, pause, n } of plan(program)) {
    await wait(pause, stream.signal);
    if (n > 200) await turn();
    if (stream.signal.aborted) return;
    const value = valueOf(kind, n);
    const event = {
      ...(typeof value === "object" && value !== null && !(value instanceof Uint8Array) ? value : { data: n }),
      id: undefined,
    };
    trace.yielded.push({ kind: "event", value: { ...event, id: await broker.publish("channel", event) } });
  }
  await end({ ...program, end: program.end === "throws" ? "ends" : program.end }, stream, trace);
  await broker.end("channel");
}
