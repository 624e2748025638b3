import type { Response } from "express";
import { headersSent } from "../errors.js";
import { encode } from "../format/encode.js";
import { checkRetry } from "../format/fields.js";
import type { Settings } from "../options.js";
import { setHead } from "../response/head.js";
import { Timer } from "../runtime/clock.js";
import { type Beat, every, type Ticker } from "../runtime/shared-interval.js";
import type { FrameWriter } from "../response/writer.js";
import type { Outlet } from "../source/pump.js";
import { isThenable } from "../source/readers.js";

/** What a sender tells. */
export interface SenderEvents {
  /** The stream has lasted its time. */
  end(reason: "expired"): void;
  /** A ping cannot be sent. */
  failed(error: unknown): void;
  /** Does something as part of the stream's own request. */
  runInAsyncScope(work: () => void): void;
}

/** What one stream sends, and in which order: the head, the first `retry`, events with pings in between, a farewell. */
export class Sender implements Outlet, Ticker {
  readonly #res: Response;
  readonly #settings: Settings;
  readonly #writer: FrameWriter;
  readonly #events: SenderEvents;

  #openedAt: number | undefined;
  #sent = 0;
  #pings: Beat | undefined;
  #isPingDue = false;
  #expiry: Timer | undefined;

  constructor(res: Response, settings: Settings, writer: FrameWriter, events: SenderEvents) {
    this.#res = res;
    this.#settings = settings;
    this.#writer = writer;
    this.#events = events;
  }

  /** Prepares the head: it leaves with the first write. */
  open(retry: Settings["retry"]): void {
    const { pingInterval, maxDuration } = this.#settings;
    if (this.#res.headersSent) throw headersSent();
    const delay = typeof retry === "function" ? retry() : retry;
    // Jitter seldom comes in whole milliseconds.
    ignoreRejection(delay);
    const first =
      retry === undefined
        ? undefined
        : this.#encode({ retry: checkRetry(typeof delay === "number" ? Math.round(delay) : delay) });
    setHead(this.#res, this.#settings);
    this.#openedAt = performance.now();
    if (first !== undefined) this.#writer.write(first);
    if (pingInterval) this.#pings = every(pingInterval, this);
    // In the last tenth, so that clients that came together do not come back together.
    if (maxDuration !== undefined)
      this.#expiry = new Timer(maxDuration * (0.9 + Math.random() / 10), () => this.#events.end("expired"));
  }

  /** What goes over the wire for a value of the source. */
  frameOf(value: unknown): string | Uint8Array {
    const { toEvent } = this.#settings;
    return this.#encode(toEvent === undefined ? value : toEvent(value as never));
  }

  /** Sends the frame of one item. */
  send(frame: string | Uint8Array): void {
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
   * @returns false where half a frame has been sent: the event would become part of it
   */
  sendLast(event: unknown): boolean {
    const frame = this.#encode(event);
    if (this.#writer.isMidFrame) return false;
    this.#writer.write(frame);
    return true;
  }

  /** Stops what runs by the clock. */
  stop(): void {
    this.#pings?.stop();
    this.#pings = undefined;
    this.#expiry?.stop();
  }

  /** Whether the head was sent, or is about to leave with the first write. */
  get hasOpened(): boolean {
    return this.#openedAt !== undefined;
  }

  /** What has been sent, for the summary. */
  figures(): { events: number; bytes: number; duration: number } {
    const duration = performance.now() - (this.#openedAt ?? performance.now());
    return { events: this.#sent, bytes: this.#writer.bytes, duration: Math.max(duration, 0) };
  }

  /** Pings. It is the middle of another request, whose stream was the first to ask for such pings. */
  tick(): void {
    this.#events.runInAsyncScope(() => this.#ping());
  }

  #ping(): void {
    // None piles up on a full socket, and none lands inside a frame: the one that is due follows later.
    this.#isPingDue = !this.#writer.isWritable || this.#writer.isMidFrame;
    if (this.#isPingDue) return;
    try {
      this.#writer.write(this.#encode(this.#settings.ping()));
    } catch (error) {
      this.#events.failed(error);
    }
  }

  #pingIfDue(): void {
    if (this.#isPingDue && this.#pings !== undefined) this.#ping();
  }

  #encode(item: unknown): string | Uint8Array {
    const { lineEnding, serialize } = this.#settings;
    if (item instanceof Uint8Array) return item;
    try {
      return encode(item, lineEnding, serialize);
    } catch (error) {
      // A promise is no event, and what it rejects with later must not end the process.
      ignoreRejection(item);
      throw error;
    }
  }
}

function ignoreRejection(value: unknown): void {
  if (isThenable(value)) value.then(undefined, () => {});
}
