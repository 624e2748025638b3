import { EventStreamError, show } from "./errors.js";

/** What a stream reads from: one item after the other. */
export class SourceReader {
  /** Asks for the next item. */
  readonly next: () => PromiseLike<IteratorResult<unknown>> | IteratorResult<unknown>;
  #leave: (() => unknown) | undefined;

  constructor(next: SourceReader["next"], leave: () => unknown) {
    this.next = next;
    this.#leave = leave;
  }

  /** Notes that the source ended, or threw, by itself: there is nothing to return from. */
  ended(): void {
    this.#leave = undefined;
  }

  /**
   * Says, once, that no more will be asked for. Never throws, and nobody waits for it: a generator that is awaiting
   * cannot run it yet.
   */
  return(): void {
    const leave = this.#leave;
    this.#leave = undefined;
    if (leave !== undefined) letGo(leave);
  }
}

function letGo(leave: () => unknown): void {
  try {
    const left = leave();
    if (isThenable(left)) left.then(undefined, () => {});
  } catch {
    // Nobody is left who could use it: the stream has ended, and it has been said why.
  }
}

/** Whether `value` can be read at all. Strings and bytes can be iterated too, but nobody means their letters. */
export function isReadable(value: unknown): value is object {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array || value instanceof String) return false;
  return isAsyncIterable(value) || typeof (value as Partial<Iterable<unknown>>)[Symbol.iterator] === "function" || isWebStream(value);
}

/** The iterators and streams that have been read from: a second reader would get what the first one left. */
const consumed = new WeakSet<object>();

/**
 * Begins to read `source`.
 *
 * @throws {EventStreamError} `ERR_INVALID_SOURCE`, or `ERR_SOURCE_CONSUMED` for a one-shot iterator that was read before
 */
export function readSource(source: unknown): SourceReader {
  if (!isReadable(source)) {
    throw new EventStreamError("ERR_INVALID_SOURCE", `The source is ${show(source)}; it must be an async iterable (a generator, a stream, …), an iterable, or null for nothing.`);
  }
  if (isWebStream(source)) return webStreamReader(claim(source));
  if (isNodeStream(source)) return nodeStreamReader(claim(source));
  if (isAsyncIterable(source)) return asyncReader(claim(source[Symbol.asyncIterator]()));
  return syncReader(claim((source as Iterable<unknown>)[Symbol.iterator]()));
}

function claim<T extends object>(iterator: T): T {
  if (typeof iterator !== "object" || iterator === null) {
    throw new EventStreamError("ERR_INVALID_SOURCE", `The source's iterator is ${show(iterator)}; [Symbol.asyncIterator]() must return an object with next().`);
  }
  if (consumed.has(iterator)) {
    throw new EventStreamError("ERR_SOURCE_CONSUMED", `The source is a one-shot iterator (${show(iterator)}) that another request has read; pass a function that makes a new one for each request: eventSource(() => …).`);
  }
  consumed.add(iterator);
  return iterator;
}

function asyncReader(iterator: AsyncIterator<unknown>): SourceReader {
  return new SourceReader(() => iterator.next(), () => iterator.return?.());
}

function syncReader(iterator: Iterator<unknown>): SourceReader {
  // As `for await` does it: an iterable of promises is an iterable of what they promise.
  const next = (): ReturnType<SourceReader["next"]> => {
    const result = iterator.next();
    if (result.done === true || !isThenable(result.value)) return result;
    return result.value.then(
      (value) => ({ done: false, value }),
      (error: unknown) => {
        // The promise has failed; the iterator has not, and still has something to let go.
        letGo(() => iterator.return?.());
        throw error;
      },
    );
  };
  return new SourceReader(next, () => iterator.return?.());
}

/** While the stream waits for data its iterator cannot return, and the producer would never hear that nobody listens. */
function nodeStreamReader(stream: NodeStream): SourceReader {
  const iterator = stream[Symbol.asyncIterator]();
  return new SourceReader(() => iterator.next(), () => {
    // An error of its clean-up, when nobody listens to it any longer, would end the process.
    stream.on("error", () => {});
    stream.destroy();
    return iterator.return?.();
  });
}

/** Read by hand, for the same reason: only a reader can cancel a stream while a read is pending. */
function webStreamReader(stream: ReadableStream): SourceReader {
  const reader = stream.getReader();
  return new SourceReader(() => reader.read() as Promise<IteratorResult<unknown>>, () => reader.cancel());
}

function isAsyncIterable(value: object): value is AsyncIterable<unknown> {
  return typeof (value as Partial<AsyncIterable<unknown>>)[Symbol.asyncIterator] === "function";
}

type NodeStream = AsyncIterable<unknown> & { destroy(): unknown; on(event: "error", listener: () => void): unknown; pipe: unknown };

function isNodeStream(value: object): value is NodeStream {
  const stream = value as Partial<NodeStream>;
  return isAsyncIterable(value) && typeof stream.destroy === "function" && typeof stream.on === "function" && typeof stream.pipe === "function";
}

function isWebStream(value: object): value is ReadableStream {
  return typeof (value as Partial<ReadableStream>).getReader === "function" && typeof (value as Partial<ReadableStream>).cancel === "function";
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}
