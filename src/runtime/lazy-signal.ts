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
 * much memory as the rest of an idle stream. A listener that does not need the AbortSignal can be added here directly.
 * The first one needs no list. Others are rare, and there may be many: an AbortSignal would warn of a leak.
 */
export class LazySignal implements AbortSource {
  #controller: AbortController | undefined;
  #reason: unknown;
  #listener: AbortListener | undefined;
  #others: Set<AbortListener> | undefined;

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

  addEventListener(_type: "abort", listener: AbortListener): void {
    if (this.#listener === undefined) this.#listener = listener;
    else (this.#others ??= new Set()).add(listener);
  }

  removeEventListener(_type: "abort", listener: AbortListener): void {
    if (this.#listener === listener) this.#listener = undefined;
    else this.#others?.delete(listener);
  }

  /** Aborts with `reason`. Later calls change nothing. */
  abort(reason: {}): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#controller?.abort(reason);
    const [listener, others] = [this.#listener, this.#others];
    this.#listener = this.#others = undefined;
    listener?.handleEvent();
    others?.forEach((other) => other.handleEvent());
  }
}
