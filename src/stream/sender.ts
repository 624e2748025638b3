import { encode } from "../format/encode.js";
import { checkRetry } from "../format/fields.js";
import type { Settings, StreamSummary } from "../options.js";
import type { Connection } from "../response/connection.js";
import { Timer } from "../runtime/clock.js";
import { Ticker } from "../runtime/shared-interval.js";
import type { StreamEvents } from "../response/stream-events.js";
import type { FrameWriter } from "../response/writer.js";
import type { Outlet } from "../source/pump.js";
import { isThenable } from "../source/readers.js";

export type Figures = Pick<StreamSummary, "events" | "bytes" | "duration">;

/** Sends the parts of a stream in order: the head, the first `retry`, events and pings, the event of `onError`. */
export class Sender extends Ticker implements Outlet {
  readonly #settings: Settings;
  readonly #connection: Connection;
  readonly #writer: FrameWriter;
  readonly #events: StreamEvents;

  #openedAt: number | undefined;
  #sent = 0;
  #isPingDue = false;
  #expiry: Timer | undefined;
  #isReleased = false;

  constructor(settings: Settings, connection: Connection, events: StreamEvents) {
    super();
    this.#settings = settings;
    this.#connection = connection;
    this.#writer = connection.writer;
    this.#events = events;
  }

  /** Opens the stream, or reports why that failed. */
  open(defaultRetry?: number): void {
    try {
      this.#open(this.#settings.retry ?? defaultRetry);
      this.#events.onOpen();
    } catch (error) {
      this.#events.onError(error);
    }
  }

  /** Sets the head, which leaves with the first write, and begins the pings and `maxDuration`. */
  #open(retry: Settings["retry"]): void {
    const { pingInterval, maxDuration } = this.#settings;
    this.#connection.assertHeadIsUnsent();
    const delay = typeof retry === "function" ? retry() : retry;
    ignoreRejection(delay);
    // Rounded, because random jitter is seldom a whole number of milliseconds.
    const first =
      retry === undefined
        ? undefined
        : this.#encode({ retry: checkRetry(typeof delay === "number" ? Math.round(delay) : delay) });
    this.#connection.setHead(this.#settings);
    this.#openedAt = performance.now();
    if (first !== undefined) this.#writer.write(first);
    if (pingInterval) this.startTicking(pingInterval);
    // At a random moment in the last tenth, so that clients that came together do not come back together.
    if (maxDuration !== undefined)
      this.#expiry = new Timer(maxDuration * (0.9 + Math.random() / 10), () => this.#events.onTimeUp("expired"));
  }

  /**
   * Sends one item of the source. The first one opens the stream, but only once it has been encoded without an error.
   */
  send(item: unknown): void {
    const { toEvent } = this.#settings;
    const frame = this.#encode(toEvent === undefined ? item : toEvent(item as never));
    // `toEvent`, `serialize` and `retry` are the application's, and may have ended the stream.
    if (this.#openedAt === undefined && !this.#isReleased) this.open();
    if (this.#isReleased) return;
    this.#sent += 1;
    this.#writer.write(frame);
    if (this.#writer.isWritable) this.#pingIfDue();
  }

  full(): Promise<void> | undefined {
    return this.#writer.isWritable ? undefined : this.#writer.drained().then(() => this.#pingIfDue());
  }

  /**
   * Sends a last event.
   *
   * @returns false if the source's raw bytes have left a frame open: the event would become part of that frame
   */
  sendLast(event: unknown): boolean {
    const frame = this.#encode(event);
    if (this.#writer.isMidFrame) return false;
    this.#writer.write(frame);
    return true;
  }

  /** Stops the pings and the timer of `maxDuration`. */
  release(): void {
    this.#isReleased = true;
    this.stopTicking();
    this.#expiry?.stop();
  }

  /** The figures of the summary, if the stream has been opened. */
  figures(): Figures | undefined {
    if (this.#openedAt === undefined) return undefined;
    // Fake timers may set the clock back.
    const duration = Math.max(performance.now() - this.#openedAt, 0);
    return { events: this.#sent, bytes: this.#writer.bytes, duration };
  }

  /** Called by a timer that many streams share, in the async context of whichever stream started it. */
  tick(): void {
    this.#events.runInAsyncScope(() => this.#ping());
  }

  #ping(): void {
    // On a full socket, or inside a frame, the ping waits. Only one waits: pings do not pile up.
    this.#isPingDue = !this.#writer.isWritable || this.#writer.isMidFrame;
    if (this.#isPingDue) return;
    try {
      this.#writer.write(this.#encode(this.#settings.ping()));
    } catch (error) {
      this.#events.onError(error);
    }
  }

  #pingIfDue(): void {
    if (this.#isPingDue && this.isTicking) this.#ping();
  }

  #encode(item: unknown): string | Uint8Array {
    const { lineEnding, serialize } = this.#settings;
    if (item instanceof Uint8Array) return item;
    try {
      return encode(item, lineEnding, serialize);
    } catch (error) {
      // If the item is a promise, it is refused here, and a later rejection must not end the process.
      ignoreRejection(item);
      throw error;
    }
  }
}

function ignoreRejection(value: unknown): void {
  if (isThenable(value)) value.then(undefined, () => {});
}
