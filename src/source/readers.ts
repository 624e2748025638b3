import { EventStreamError, show } from "../errors.js";
import { Feed } from "./feed.js";

/** Reads the items of a source, one after the other. */
export abstract class SourceReader {
  #isOver = false;

  /** Requests the next item. */
  abstract next(): PromiseLike<IteratorResult<unknown>> | IteratorResult<unknown>;
  /** Releases the source. */
  protected abstract release(): unknown;

  /** Called when the source has ended or thrown by itself: from then on `return` does nothing. */
  onEnd(): void {
    this.#isOver = true;
  }

  /**
   * Releases the source, once, and never throws. The release is not awaited, because a generator that is awaiting
   * something cannot run its `finally` yet.
   */
  return(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    releaseQuietly(() => this.release());
  }
}

function releaseQuietly(release: () => unknown): void {
  try {
    const released = release();
    if (isThenable(released)) released.then(undefined, () => {});
  } catch {
    // The stream ends for a reason that is reported elsewhere; nobody is left to receive this error.
  }
}

/**
 * Whether `result` is the last one of its iterator. As in `for await`, any truthy `done` ends the iteration.
 *
 * @throws {EventStreamError} `ERR_INVALID_SOURCE` for a result that is not an object
 */
export function isLast(result: IteratorResult<unknown>): boolean {
  if ((typeof result !== "object" || result === null) && typeof result !== "function") {
    throw new EventStreamError(
      "ERR_INVALID_SOURCE",
      `The source's next() returned ${show(result)}; it must return { value, done }, or a promise of that.`,
    );
  }
  return Boolean(result.done);
}

/** Whether `value` can be a source. Strings and bytes cannot: nobody wants an event for each character or byte. */
export function isReadable(value: unknown): value is object {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array || value instanceof String)
    return false;
  return (
    isAsyncIterable(value) ||
    typeof (value as Partial<Iterable<unknown>>)[Symbol.iterator] === "function" ||
    isWebStream(value)
  );
}

const iterableOrNull = "an async iterable (a generator, a stream, …), an iterable, or null for nothing";

/**
 * The iterators and streams that have been read, but for feeds, which know it themselves: a second reader would get only
 * what the first has left.
 */
const consumed = new WeakSet<object>();

/**
 * Begins to read `source`.
 *
 * @param must the rest of the error's sentence "it must be …"
 *
 * @throws {EventStreamError} `ERR_INVALID_SOURCE`, or `ERR_SOURCE_CONSUMED` for a one-shot iterator that was read
 *   before
 */
export function readSource(source: unknown, must: string = iterableOrNull): SourceReader | Feed<unknown> {
  if (!isReadable(source)) {
    throw new EventStreamError("ERR_INVALID_SOURCE", `The source is ${show(source)}; it must be ${must}.`);
  }
  if (source instanceof Feed) return claim(source);
  if (isWebStream(source)) return new WebStreamReader(claim(source));
  if (isNodeStream(source)) return new NodeStreamReader(claim(source));
  if (isAsyncIterable(source)) return new AsyncReader(claim(source[Symbol.asyncIterator]()));
  return new SyncReader(claim((source as Iterable<unknown>)[Symbol.iterator]()));
}

function claim<T extends object>(iterator: T): T {
  if (typeof iterator !== "object" || iterator === null) {
    throw new EventStreamError(
      "ERR_INVALID_SOURCE",
      `The source's iterator is ${show(iterator)}; [Symbol.asyncIterator]() must return an object with next().`,
    );
  }
  if (iterator instanceof Feed ? !iterator.claim() : consumed.has(iterator)) {
    throw new EventStreamError(
      "ERR_SOURCE_CONSUMED",
      `The source is a one-shot iterator (${show(iterator)}) that another request has read; ` +
        "pass a function that makes a new one for each request: eventSource(() => …).",
    );
  }
  if (!(iterator instanceof Feed)) consumed.add(iterator);
  return iterator;
}

class AsyncReader extends SourceReader {
  readonly #iterator: AsyncIterator<unknown>;

  constructor(iterator: AsyncIterator<unknown>) {
    super();
    this.#iterator = iterator;
  }

  next(): PromiseLike<IteratorResult<unknown>> {
    return this.#iterator.next();
  }

  protected release(): unknown {
    return this.#iterator.return?.();
  }
}

/** Awaits promises among the items, as `for await` does. */
class SyncReader extends SourceReader {
  readonly #iterator: Iterator<unknown>;

  constructor(iterator: Iterator<unknown>) {
    super();
    this.#iterator = iterator;
  }

  next(): PromiseLike<IteratorResult<unknown>> | IteratorResult<unknown> {
    const result = this.#iterator.next();
    const done = isLast(result);
    if (!isThenable(result.value)) return result;
    // Wrapped, because a thenable's own `then` need not return a promise.
    return Promise.resolve(result.value).then(
      (value) => ({ done, value }),
      (error: unknown) => {
        // The promise failed, not the iterator, which still has to be released.
        if (!done) releaseQuietly(() => this.release());
        throw error;
      },
    );
  }

  protected release(): unknown {
    return this.#iterator.return?.();
  }
}

/**
 * Destroys the stream on release. Its iterator cannot return while it waits for data, so `return` alone might never
 * stop the producer.
 */
class NodeStreamReader extends AsyncReader {
  readonly #stream: NodeStream;

  constructor(stream: NodeStream) {
    super(stream[Symbol.asyncIterator]());
    this.#stream = stream;
  }

  protected override release(): unknown {
    // Without a listener, an error during its clean-up would end the process.
    this.#stream.on("error", () => {});
    this.#stream.destroy();
    return super.release();
  }
}

/** Uses the stream's own reader, not its iterator: only a reader can cancel a stream while a read is pending. */
class WebStreamReader extends SourceReader {
  readonly #reader: ReadableStreamDefaultReader<unknown>;

  constructor(stream: ReadableStream<unknown>) {
    super();
    this.#reader = stream.getReader();
  }

  next(): Promise<IteratorResult<unknown>> {
    return this.#reader.read() as Promise<IteratorResult<unknown>>;
  }

  protected release(): unknown {
    return this.#reader.cancel();
  }
}

function isAsyncIterable(value: object): value is AsyncIterable<unknown> {
  return typeof (value as Partial<AsyncIterable<unknown>>)[Symbol.asyncIterator] === "function";
}

type NodeStream = AsyncIterable<unknown> & {
  destroy(): unknown;
  on(event: "error", listener: () => void): unknown;
  pipe: unknown;
};

function isNodeStream(value: object): value is NodeStream {
  const stream = value as Partial<NodeStream>;
  return (
    isAsyncIterable(value) &&
    typeof stream.destroy === "function" &&
    typeof stream.on === "function" &&
    typeof stream.pipe === "function"
  );
}

function isWebStream(value: object): value is ReadableStream {
  return (
    typeof (value as Partial<ReadableStream>).getReader === "function" &&
    typeof (value as Partial<ReadableStream>).cancel === "function"
  );
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  // Functions too, as for `await`: some RPC clients return a callable proxy.
  const canHaveThen = (typeof value === "object" && value !== null) || typeof value === "function";
  return canHaveThen && typeof (value as { then?: unknown }).then === "function";
}
