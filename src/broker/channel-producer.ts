import { randomUUID } from "node:crypto";
import type { EventStreamError } from "../errors.js";
import { announce } from "../runtime/diagnostics.js";
import { isTurnSpent, nextTurn } from "../runtime/turn.js";
import type { Feed } from "../source/feed.js";
import { isLast, isThenable, readSource, type SourceReader } from "../source/readers.js";
import type { ProductionOutcome, Producer } from "./broker.js";
import type { ProduceSettings } from "./checks.js";
import { Lease } from "./lease.js";
import type { ProducerStore, Verdict } from "./producer-store.js";
import { encodeForPublishing, type EventParts } from "./published-event.js";

const lostEvent: EventParts = { event: "lost", text: "" };
const failedEvent: EventParts = { event: "failed", text: "" };

interface Failure {
  readonly error: unknown;
}

/**
 * One producer, from its claim to its outcome.
 *
 *     claiming --claimed--> producing --source ended or failed, close()--> ending --mark stored--> settled
 *                               '---------------- stopped, lost -------------'-----------------------^
 */
export class ChannelProducer {
  readonly done: Promise<ProductionOutcome>;
  readonly #store: ProducerStore;
  readonly #channel: string;
  readonly #token: string = randomUUID();
  readonly #settings: ProduceSettings;
  readonly #lease: Lease;
  readonly #controller = new AbortController();
  #state: "claiming" | "producing" | "ending" | "settled" = "claiming";
  #renewal: "idle" | "asking" | "asking again" = "idle";
  /** Set while the source must be released at the end: not before it is read, and not after it has ended by itself. */
  #reader: SourceReader | Feed<unknown> | undefined;
  #releaseWatch: (() => void) | undefined;
  #resolve!: (outcome: ProductionOutcome) => void;
  #reject!: (error: unknown) => void;

  constructor(store: ProducerStore, channel: string, settings: ProduceSettings) {
    this.#store = store;
    this.#channel = channel;
    this.#settings = settings;
    this.#lease = new Lease(store.hasLeases ? settings.lease : Infinity);
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Without a handler, a rejection that the application does not look at would end the process.
    this.done.catch(() => {});
  }

  /**
   * @returns whether this is now the channel's producer. The answer is certain: if a reply is lost, the claim is made
   *   again.
   * @param isClosed whether the broker has been closed, so that the claim is not made again
   * @throws {EventStreamError} `ERR_BROKER_UNAVAILABLE` when the store has not answered for one lease, or at once if
   *   asking again cannot help
   */
  async claim(isClosed: () => boolean): Promise<boolean> {
    const { lease } = this.#settings;
    const isClaimed = await this.#lease.ask(
      () => this.#store.claim(this.#channel, this.#token, lease),
      (error) => isClosed() || this.#store.isFinal(error),
    );
    if (isClaimed) this.#state = "producing";
    return isClaimed;
  }

  /** Begins to produce. Never throws: failures reject `done`. */
  run(source: (producer: Producer) => unknown): void {
    this.#releaseWatch = this.#store.watch(this.#channel, this.#token, () => void this.#renew());
    this.#lease.start(
      () => void this.#renew(),
      () => this.#endAsLost(),
    );
    this.#produce(source).catch((error: unknown) => this.#fail(error));
  }

  async #produce(source: (producer: Producer) => unknown): Promise<void> {
    const reader = readSource(await source({ signal: this.#controller.signal }), "an async iterable or an iterable");
    // The producer may have been stopped while the function's promise was pending.
    if (this.#state !== "producing") return void reader.return();
    this.#reader = reader;
    for (let number = 1; this.#state === "producing"; number++) {
      const result = await this.#next(reader);
      if (this.#state !== "producing") return;
      if (isLast(result)) return await this.#end("completed");
      const parts = encodeForPublishing(result.value);
      const verdict = await this.#ask(() => this.#store.append(this.#channel, this.#token, number, parts));
      if (verdict !== "held") this.#settle(verdict);
      else if (isTurnSpent()) await nextTurn();
    }
  }

  async #next(reader: SourceReader | Feed<unknown>): Promise<IteratorResult<unknown>> {
    let isOver = true;
    try {
      const result = await reader.next();
      isOver = isLast(result);
      return result;
    } finally {
      // An iterator that has ended or thrown by itself needs no return().
      if (isOver) this.#reader = undefined;
    }
  }

  async #fail(error: unknown): Promise<void> {
    // A source may throw because its signal has aborted: that is how it stops, not a failure.
    if (this.#state !== "producing") return;
    announce("error", { channel: this.#channel, error });
    this.#releaseSource(error);
    await this.#end({ error }, this.#lastWord(error));
  }

  /** The event that tells subscribers of a failure. It reveals nothing of the error itself unless `onError` does. */
  #lastWord(error: unknown): EventParts | undefined {
    const { onError } = this.#settings;
    try {
      const event = onError?.(error);
      if (isThenable(event)) event.then(undefined, () => {});
      return event === null ? undefined : event === undefined ? failedEvent : encodeForPublishing(event);
    } catch (thrown) {
      announce("error", { channel: this.#channel, error: thrown });
      return failedEvent;
    }
  }

  async #end(outcome: ProductionOutcome | Failure, last?: EventParts): Promise<void> {
    this.#state = "ending";
    try {
      const verdict = await this.#ask(() => this.#store.end(this.#channel, this.#token, last));
      this.#settle(verdict === "held" ? outcome : verdict);
    } catch (error) {
      announce("error", { channel: this.#channel, error });
      this.#settle("lost");
    }
  }

  /**
   * Ends the channel properly because the broker closes. It asks the store only once; the store has a timeout of its
   * own.
   */
  async close(): Promise<void> {
    if (this.#state !== "producing") return;
    this.#state = "ending";
    this.#releaseSource("stopped");
    const verdict = await this.#store.end(this.#channel, this.#token).catch((): Verdict => "lost");
    this.#settle(verdict === "held" ? "stopped" : verdict);
  }

  async #renew(): Promise<void> {
    if (this.#renewal !== "idle") {
      // The answer that is under way may be older than the change that led to this call.
      this.#renewal = "asking again";
      return;
    }
    do {
      this.#renewal = "asking";
      let asked = 0;
      const verdict = await this.#ask(() => {
        asked = performance.now();
        return this.#store.renew(this.#channel, this.#token, this.#settings.lease);
      }).catch((error: unknown): Verdict => {
        announce("error", { channel: this.#channel, error });
        this.#endAsLost();
        return "lost";
      });
      if (verdict === "held") this.#lease.extend(asked);
      else this.#settle(verdict);
    } while ((this.#renewal as string) === "asking again" && this.#state !== "settled");
    this.#renewal = "idle";
  }

  /** Asks the store until it answers or the lease is over. */
  async #ask(question: () => Promise<Verdict>): Promise<Verdict> {
    try {
      if (!this.#lease.isOver) {
        const verdict = await this.#lease.ask(question);
        if (verdict === "lost" && !this.#lease.isOver) await this.#lease.ask(() => this.#endForgotten());
        return verdict;
      }
    } catch (error) {
      if ((error as Partial<EventStreamError> | undefined)?.code !== "ERR_BROKER_UNAVAILABLE") throw error;
    }
    this.#endAsLost();
    return "lost";
  }

  /**
   * A store that answers "lost" within the lease has forgotten the producer (a flush, a failover), so nobody else would
   * tell the subscribers. Claims the channel once more, unless another producer has it by now, and ends it as lost.
   */
  async #endForgotten(): Promise<void> {
    if (await this.#store.claim(this.#channel, this.#token, this.#settings.lease))
      await this.#store.end(this.#channel, this.#token, lostEvent);
  }

  /** Called when the lease is over by this process's clock. The store is told, because it may not have noticed yet. */
  #endAsLost(): void {
    if (this.#state === "settled") return;
    this.#settle("lost");
    this.#store.end(this.#channel, this.#token, lostEvent).catch(() => {});
  }

  #settle(outcome: ProductionOutcome | Failure): void {
    if (this.#state === "settled") return;
    this.#state = "settled";
    this.#lease.release();
    this.#releaseWatch?.();
    if (outcome === "stopped" || outcome === "lost") this.#releaseSource(outcome);
    if (typeof outcome === "object") this.#reject(outcome.error);
    else this.#resolve(outcome);
  }

  /** Releases the source, without awaiting it: a generator that is awaiting something cannot run its `finally` yet. */
  #releaseSource(reason: unknown): void {
    const reader = this.#reader;
    this.#reader = undefined;
    this.#controller.abort(reason);
    void reader?.return();
  }
}
