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
 */
export class LazySignal implements AbortSource {
  #controller: AbortController | undefined;
  #reason: unknown;
  #listeners: readonly AbortListener[] | undefined;

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
    // Not a spread, for which V8 would reserve room for sixteen more elements.
    this.#listeners = this.#listeners?.concat(listener) ?? [listener];
  }

  removeEventListener(_type: "abort", listener: AbortListener): void {
    this.#listeners = this.#listeners?.filter((other) => other !== listener);
  }

  /** Aborts with `reason`. Later calls change nothing. */
  abort(reason: {}): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#controller?.abort(reason);
    const listeners = this.#listeners;
    this.#listeners = undefined;
    listeners?.forEach((listener) => listener.handleEvent());
  }
}
