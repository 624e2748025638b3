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
 * An AbortSignal that exists from when somebody first asks for it: most streams never do, and a signal weighs as much
 * as the rest of an idle stream. Whoever only listens need not ask.
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
    // No spread: V8 leaves room for sixteen more behind it.
    this.#listeners = this.#listeners?.concat(listener) ?? [listener];
  }

  removeEventListener(_type: "abort", listener: AbortListener): void {
    this.#listeners = this.#listeners?.filter((other) => other !== listener);
  }

  /** Aborts with `reason`; the first one stays. */
  abort(reason: {}): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#controller?.abort(reason);
    const listeners = this.#listeners;
    this.#listeners = undefined;
    listeners?.forEach((listener) => listener.handleEvent());
  }
}
