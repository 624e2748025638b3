import type { Response } from "express";
import { headersSent } from "../errors.js";
import { encode } from "../format/encode.js";
import { checkRetry } from "../format/fields.js";
import type { Settings } from "../options.js";
import { setHead } from "../response/head.js";
import { Timer } from "../runtime/clock.js";
import { type Beat, every, type Ticker } from "../runtime/shared-interval.js";
import type { StreamEvents } from "../response/stream-events.js";
import type { FrameWriter } from "../response/writer.js";
import type { Outlet } from "../source/pump.js";
import { isThenable } from "../source/readers.js";

/** Sends one stream in its order: the head, the first `retry`, events with pings in between, and `onError`'s event. */
export class Sender implements Outlet, Ticker {
  readonly #res: Response;
  readonly #settings: Settings;
  readonly #writer: FrameWriter;
  readonly #events: StreamEvents;

  #openedAt: number | undefined;
  #sent = 0;
  #pings: Beat | undefined;
  #isPingDue = false;
  #expiry: Timer | undefined;

  constructor(res: Response, settings: Settings, writer: FrameWriter, events: StreamEvents) {
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
    // The result is rounded below, because random jitter is seldom a whole number of milliseconds.
    ignoreRejection(delay);
    const first =
      retry === undefined
        ? undefined
        : this.#encode({ retry: checkRetry(typeof delay === "number" ? Math.round(delay) : delay) });
    setHead(this.#res, this.#settings);
    this.#openedAt = performance.now();
    if (first !== undefined) this.#writer.write(first);
    if (pingInterval) this.#pings = every(pingInterval, this);
    // At a random moment in the last tenth: clients that came together then come back spread out.
    if (maxDuration !== undefined)
      this.#expiry = new Timer(maxDuration * (0.9 + Math.random() / 10), () => this.#events.onTimeUp("expired"));
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
    this.#pings?.stop();
    this.#pings = undefined;
    this.#expiry?.stop();
  }

  /** Whether the head has been set. It leaves with the first write. */
  get hasOpened(): boolean {
    return this.#openedAt !== undefined;
  }

  /** The figures of the summary. */
  figures(): { events: number; bytes: number; duration: number } {
    const duration = performance.now() - (this.#openedAt ?? performance.now());
    return { events: this.#sent, bytes: this.#writer.bytes, duration: Math.max(duration, 0) };
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
