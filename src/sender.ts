import type { Response } from "express";
import { headersSent } from "./errors.js";
import { checkRetry, encode } from "./format/encode.js";
import type { Settings } from "./options.js";
import { setHead } from "./response/head.js";
import { every } from "./response/metronome.js";
import type { FrameWriter } from "./response/writer.js";

/** What one stream sends, and in which order: the head, the first `retry`, events with pings in between, a farewell. */
export class Sender {
  /** How many items of the source have been sent. */
  events = 0;
  /** When the head was sent, as `performance.now()` tells it. */
  openedAt: number | undefined;

  readonly #res: Response;
  readonly #settings: Settings;
  readonly #writer: FrameWriter;
  readonly #failed: (error: unknown) => void;
  #stopPings: (() => void) | undefined;
  #isPingDue = false;

  /** `failed` is told of a ping that cannot be sent. */
  constructor(res: Response, settings: Settings, writer: FrameWriter, failed: (error: unknown) => void) {
    this.#res = res;
    this.#settings = settings;
    this.#writer = writer;
    this.#failed = failed;
  }

  /** Prepares the head: it leaves with the first write, or with `flush`. */
  open(retry: Settings["retry"]): void {
    const { status, headers, pingInterval } = this.#settings;
    if (this.#res.headersSent) throw headersSent();
    const first = retry === undefined ? undefined : this.#encode({ retry: checkRetry(typeof retry === "function" ? retry() : retry) });
    setHead(this.#res, status, headers);
    this.openedAt = performance.now();
    if (first !== undefined) this.#writer.write(first);
    if (pingInterval) this.#stopPings = every(pingInterval, this.#ping);
  }

  /** Sends the head by itself. */
  flush(): void {
    this.#res.flushHeaders();
  }

  /** What goes over the wire for a value of the source. */
  frameOf(value: unknown): string | Uint8Array {
    const { toEvent } = this.#settings;
    return this.#encode(toEvent === undefined ? value : toEvent(value as never));
  }

  /** Sends the frame of one item; resolves when there is room for the next. */
  send(frame: string | Uint8Array): Promise<void> | undefined {
    this.events += 1;
    this.#writer.write(frame);
    if (!this.#writer.isWritable) return this.#writer.drained().then(this.#pingIfDue);
    this.#pingIfDue();
    return undefined;
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

  /** Sends no more pings. */
  stop(): void {
    this.#stopPings?.();
    this.#stopPings = undefined;
  }

  readonly #ping = (): void => {
    // None piles up on a full socket, and none lands inside a frame: the one that is due follows later.
    this.#isPingDue = !this.#writer.isWritable || this.#writer.isMidFrame;
    if (this.#isPingDue) return;
    try {
      this.#writer.write(this.#encode(this.#settings.ping()));
    } catch (error) {
      this.#failed(error);
    }
  };

  readonly #pingIfDue = (): void => {
    if (this.#isPingDue && this.#stopPings !== undefined) this.#ping();
  };

  #encode(item: unknown): string | Uint8Array {
    const { lineEnding, serialize } = this.#settings;
    return item instanceof Uint8Array ? item : encode(item, lineEnding, serialize);
  }
}
