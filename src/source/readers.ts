import { EventStreamError, show } from "../errors.js";
import { Feed } from "./feed.js";

/** What a stream reads from: one item after the other. */
export abstract class SourceReader {
  #isOver = false;

  /** Asks for the next item. */
  abstract next(): PromiseLike<IteratorResult<unknown>> | IteratorResult<unknown>;
  /** Lets the source go. */
  protected abstract leave(): unknown;

  /** Notes that the source ended, or threw, by itself: there is nothing to return from. */
  ended(): void {
    this.#isOver = true;
  }

  /**
   * Says, once, that no more will be asked for. Never throws, and nobody waits for it: a generator that is awaiting
   * cannot run it yet.
   */
  return(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    letGo(() => this.leave());
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

/**
 * Whether `result` is an iterator's last one, by the rules of `for await`: any truthy `done` ends it.
 *
 * @throws {EventStreamError} `ERR_INVALID_SOURCE` for a result that is no object
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

/** Whether `value` can be read at all. Strings and bytes can be iterated too, but nobody means their letters. */
export function isReadable(value: unknown): value is object {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array || value instanceof String)
    return false;
  return (
    isAsyncIterable(value) ||
    typeof (value as Partial<Iterable<unknown>>)[Symbol.iterator] === "function" ||
    isWebStream(value)
  );
}

/** The iterators and streams that have been read from: a second reader would get what the first one left. */
const consumed = new WeakSet<object>();

/**
 * Begins to read `source`.
 *
 * @throws {EventStreamError} `ERR_INVALID_SOURCE`, or `ERR_SOURCE_CONSUMED` for a one-shot iterator that was read before
 */
export function readSource(source: unknown): SourceReader | Feed<unknown> {
  if (!isReadable(source)) {
    throw new EventStreamError(
      "ERR_INVALID_SOURCE",
      `The source is ${show(source)}; it must be an async iterable (a generator, a stream, …), an iterable, or null for nothing.`,
    );
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
  if (consumed.has(iterator)) {
    throw new EventStreamError(
      "ERR_SOURCE_CONSUMED",
      `The source is a one-shot iterator (${show(iterator)}) that another request has read; pass a function that makes a new one for each request: eventSource(() => …).`,
    );
  }
  consumed.add(iterator);
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

  protected leave(): unknown {
    return this.#iterator.return?.();
  }
}

/** As `for await` does it: an iterable of promises is an iterable of what they promise. */
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
    // `then` is somebody else's, and need not return a promise.
    return Promise.resolve(result.value).then(
      (value) => ({ done, value }),
      (error: unknown) => {
        // The promise has failed; the iterator has not, and still has something to let go.
        if (!done) letGo(() => this.leave());
        throw error;
      },
    );
  }

  protected leave(): unknown {
    return this.#iterator.return?.();
  }
}

/** While the stream waits for data its iterator cannot return, and the producer would never hear that nobody listens. */
class NodeStreamReader extends AsyncReader {
  readonly #stream: NodeStream;

  constructor(stream: NodeStream) {
    super(stream[Symbol.asyncIterator]());
    this.#stream = stream;
  }

  protected override leave(): unknown {
    // An error of its clean-up, when nobody listens to it any longer, would end the process.
    this.#stream.on("error", () => {});
    this.#stream.destroy();
    return super.leave();
  }
}

/** Read by hand, for the same reason: only a reader can cancel a stream while a read is pending. */
class WebStreamReader extends SourceReader {
  readonly #reader: ReadableStreamDefaultReader<unknown>;

  constructor(stream: ReadableStream<unknown>) {
    super();
    this.#reader = stream.getReader();
  }

  next(): Promise<IteratorResult<unknown>> {
    return this.#reader.read() as Promise<IteratorResult<unknown>>;
  }

  protected leave(): unknown {
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
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}
