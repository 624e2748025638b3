import { randomUUID } from "node:crypto";
import type { EventStreamError } from "../errors.js";
import { announce } from "../runtime/diagnostics.js";
import { isTurnSpent, nextTurn } from "../runtime/turn.js";
import type { Feed } from "../source/feed.js";
import { isLast, isThenable, readSource, type SourceReader } from "../source/readers.js";
import type { Outcome, Producer } from "./broker.js";
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
  readonly done: Promise<Outcome>;
  readonly #store: ProducerStore;
  readonly #channel: string;
  readonly #token: string = randomUUID();
  readonly #settings: ProduceSettings;
  readonly #lease: Lease;
  readonly #controller = new AbortController();
  #state: "claiming" | "producing" | "ending" | "settled" = "claiming";
  #renewal: "idle" | "asking" | "asking again" = "idle";
  /** Only while there is something to return from. */
  #reader: SourceReader | Feed<unknown> | undefined;
  #unwatch: (() => void) | undefined;
  #resolve!: (outcome: Outcome) => void;
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
    // Nobody has to look at it.
    this.done.catch(() => {});
  }

  /**
   * @returns whether it is the producer now: whatever the answer, it is exact
   * @throws {EventStreamError} `ERR_BROKER_UNAVAILABLE` where the store does not answer for as long as the lease; at once
   *   where that is final
   */
  async claim(): Promise<boolean> {
    const { lease } = this.#settings;
    const isClaimed = await this.#lease.ask(
      () => this.#store.claim(this.#channel, this.#token, lease),
      (error) => this.#store.isFinal(error),
    );
    if (isClaimed) this.#state = "producing";
    return isClaimed;
  }

  /** Begins to produce. Never throws: `done` tells how it went. */
  run(source: (producer: Producer) => unknown): void {
    this.#unwatch = this.#store.watch(this.#channel, this.#token, () => void this.#renew());
    this.#lease.start(
      () => void this.#renew(),
      () => this.#lose(),
    );
    this.#produce(source).catch((error: unknown) => this.#fail(error));
  }

  async #produce(source: (producer: Producer) => unknown): Promise<void> {
    const reader = readSource(await source({ signal: this.#controller.signal }));
    // It may have been stopped before the function's promise was fulfilled.
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
      // There is nothing to return from in an iterator that has ended, or thrown, by itself.
      if (isOver) this.#reader = undefined;
    }
  }

  async #fail(error: unknown): Promise<void> {
    // What a source throws when it has been told to stop is its way of stopping.
    if (this.#state !== "producing") return;
    announce("error", { channel: this.#channel, error });
    this.#release(error);
    await this.#end({ error }, this.#lastWord(error));
  }

  /** What subscribers are told of a failure: of the error itself nothing, unless the application says so. */
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

  async #end(outcome: Outcome | Failure, last?: EventParts): Promise<void> {
    this.#state = "ending";
    try {
      const verdict = await this.#ask(() => this.#store.end(this.#channel, this.#token, last));
      this.#settle(verdict === "held" ? outcome : verdict);
    } catch (error) {
      announce("error", { channel: this.#channel, error });
      this.#settle("lost");
    }
  }

  /** Ends the channel in order, because the broker closes. Asks once: the store has a timeout of its own. */
  async close(): Promise<void> {
    if (this.#state !== "producing") return;
    this.#state = "ending";
    this.#release("stopped");
    const verdict = await this.#store.end(this.#channel, this.#token).catch((): Verdict => "lost");
    this.#settle(verdict === "held" ? "stopped" : verdict);
  }

  async #renew(): Promise<void> {
    if (this.#renewal !== "idle") {
      // The answer under way may be older than what there is to hear.
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
        this.#lose();
        return "lost";
      });
      if (verdict === "held") this.#lease.extend(asked);
      else this.#settle(verdict);
    } while ((this.#renewal as string) === "asking again" && this.#state !== "settled");
    this.#renewal = "idle";
  }

  /** Asks the store for as long as the lease lasts. */
  async #ask(question: () => Promise<Verdict>): Promise<Verdict> {
    try {
      if (!this.#lease.isOver) {
        const verdict = await this.#lease.ask(question);
        if (verdict === "lost" && !this.#lease.isOver) await this.#lease.ask(() => this.#tellThatForgotten());
        return verdict;
      }
    } catch (error) {
      if ((error as Partial<EventStreamError> | undefined)?.code !== "ERR_BROKER_UNAVAILABLE") throw error;
    }
    this.#lose();
    return "lost";
  }

  /**
   * A store that calls it lost within its lease has forgotten it (a flush, a failover), and with it that anybody waits for a
   * producer. So it claims the channel once more, only to say that it is lost; unless somebody else has it by now.
   */
  async #tellThatForgotten(): Promise<void> {
    if (await this.#store.claim(this.#channel, this.#token, this.#settings.lease))
      await this.#store.end(this.#channel, this.#token, lostEvent);
  }

  /** The lease is over by its own clock. Where the store does not know yet, it need not wait for that. */
  #lose(): void {
    if (this.#state === "settled") return;
    this.#settle("lost");
    this.#store.end(this.#channel, this.#token, lostEvent).catch(() => {});
  }

  #settle(outcome: Outcome | Failure): void {
    if (this.#state === "settled") return;
    this.#state = "settled";
    this.#lease.release();
    this.#unwatch?.();
    if (outcome === "stopped" || outcome === "lost") this.#release(outcome);
    if (typeof outcome === "object") this.#reject(outcome.error);
    else this.#resolve(outcome);
  }

  /** Tells the source to stop; does not wait for that, for a generator that is awaiting cannot do it yet. */
  #release(reason: unknown): void {
    const reader = this.#reader;
    this.#reader = undefined;
    this.#controller.abort(reason);
    void reader?.return();
  }
}
