import { EventStreamError, show } from "./errors.js";

/** What a stream reads from: one item after the other, until `done`. */
export interface SourceReader {
  next(): PromiseLike<IteratorResult<unknown>> | IteratorResult<unknown>;
  /** Says that no more will be asked for. Never throws, and nobody waits for it: a generator that is awaiting cannot run it yet. */
  return(): void;
}

/** Whether `value` can be read at all. Strings and bytes can be iterated too, but nobody means their letters. */
export function isReadable(value: unknown): value is object {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return false;
  return Symbol.asyncIterator in value || Symbol.iterator in value || isWebStream(value);
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
  if (Symbol.asyncIterator in source) {
    const stream = isNodeStream(source) ? claim(source) : undefined;
    const iterator = (source as AsyncIterable<unknown>)[Symbol.asyncIterator]();
    return asyncReader(claim(iterator), stream);
  }
  return syncReader(claim((source as Iterable<unknown>)[Symbol.iterator]()));
}

function claim<T extends object>(iterator: T): T {
  if (consumed.has(iterator)) {
    throw new EventStreamError("ERR_SOURCE_CONSUMED", `The source is a one-shot iterator (${show(iterator)}) that another request has read; pass a function that makes a new one for each request: eventSource(() => …).`);
  }
  consumed.add(iterator);
  return iterator;
}

function asyncReader(iterator: AsyncIterator<unknown>, stream: NodeStream | undefined): SourceReader {
  return {
    next: () => iterator.next(),
    return() {
      letGo(() => iterator.return?.());
      // The iterator of a stream that waits for data cannot return yet, and the producer would never hear of it.
      stream?.destroy();
    },
  };
}

function syncReader(iterator: Iterator<unknown>): SourceReader {
  return {
    // As `for await` does it: an iterable of promises is an iterable of what they promise.
    next() {
      const result = iterator.next();
      if (result.done === true || !isThenable(result.value)) return result;
      return result.value.then((value) => ({ done: false, value }));
    },
    return: () => letGo(() => iterator.return?.()),
  };
}

/** Read by hand: the stream's own iterator cannot cancel it while a read is pending. */
function webStreamReader(stream: ReadableStream): SourceReader {
  const reader = stream.getReader();
  return {
    next: () => reader.read() as Promise<IteratorResult<unknown>>,
    return: () => letGo(() => reader.cancel()),
  };
}

function letGo(end: () => unknown): void {
  try {
    const ended = end();
    if (isThenable(ended)) ended.then(undefined, () => {});
  } catch {
    // Nobody is left who could use it: the stream has ended, and it has been said why.
  }
}

type NodeStream = object & { destroy(): unknown };

function isNodeStream(value: object): value is NodeStream {
  return typeof (value as Partial<NodeStream>).destroy === "function" && typeof (value as { pipe?: unknown }).pipe === "function";
}

function isWebStream(value: object): value is ReadableStream {
  return typeof (value as Partial<ReadableStream>).getReader === "function" && typeof (value as Partial<ReadableStream>).cancel === "function";
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}
