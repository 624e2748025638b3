/** Called when the signal aborts. */
interface AbortListener {
  handleEvent(): void;
}

/** As much of an AbortSignal as a listener needs. */
export interface AbortSource {
  readonly aborted: boolean;
  addEventListener(type: "abort", listener: AbortListener, options: { once: true }): void;
  removeEventListener(type: "abort", listener: AbortListener): void;
}

/**
 * Creates its AbortSignal only when `signal` is first read. Most streams never read it, and an AbortSignal takes as
 * much memory as the rest of an idle stream. The first listener that is added here needs none: it is held directly. Others,
 * which are rare, are added to the AbortSignal.
 */
export class LazySignal implements AbortSource {
  #controller: AbortController | undefined;
  #reason: unknown;
  #listener: AbortListener | undefined;

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  get aborted(): boolean {
    return this.#reason !== undefined;
  }

  addEventListener(type: "abort", listener: AbortListener, options: { once: true }): void {
    if (this.#listener === undefined) this.#listener = listener;
    else this.signal.addEventListener(type, listener, options);
  }

  removeEventListener(type: "abort", listener: AbortListener): void {
    if (this.#listener === listener) this.#listener = undefined;
    else this.#controller?.signal.removeEventListener(type, listener);
  }

  /** Aborts with `reason`. Later calls change nothing. */
  abort(reason: {}): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#controller?.abort(reason);
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.handleEvent();
  }
}
