import { EventStreamError } from "../errors.js";
import { Backlog } from "./backlog.js";
import { compareIds, type Entry, isUnbroken, origin, timeOf } from "./entry.js";
import { foreignKey, isFinal } from "./failure.js";
import type { Page, Store } from "./store.js";
import type { Tail } from "./tail.js";

/** The most reads and the most checks that run at once, and the most streams that one check names. */
const width = { reads: 8, checks: 4, streams: 128 };

/** The owner of the tails. */
export interface TailOwner {
  /** Whether the tail is still wanted. */
  has(tail: Tail): boolean;
  onChecked(tail: Tail): void;
  /** The channel has a producer, whose lease lasts for another `rest` milliseconds. */
  onLease(tail: Tail, rest: number): void;
  /** The channel has ended. */
  onEnd(tail: Tail): void;
  /** The stream cannot be read, and trying again would not help. */
  onFailure(tail: Tail, error: Error): void;
}

/**
 * Compares tails with their streams, and reads the entries that the tails lack. While Redis is unavailable, it keeps
 * trying.
 */
export class TailReader {
  readonly #store: Store;
  readonly #owner: TailOwner;
  readonly #unread: Backlog<Tail>;
  readonly #unchecked: Backlog<Tail>;

  constructor(store: Store, owner: TailOwner, signal: AbortSignal) {
    this.#store = store;
    this.#owner = owner;
    this.#unread = new Backlog(width.reads, 1, signal, (tails) =>
      this.#attempt(tails, ([tail]) => this.#read(tail as Tail)),
    );
    this.#unchecked = new Backlog(width.checks, width.streams, signal, (tails) =>
      this.#attempt(tails, (some) => this.#check(some)),
    );
  }

  /** The tail lacks entries. */
  read(tail: Tail): void {
    this.#unread.add(tail);
  }

  /** The tail may lack entries. */
  check(tail: Tail): void {
    this.#unchecked.add(tail);
  }

  forget(tail: Tail): void {
    this.#unread.delete(tail);
    this.#unchecked.delete(tail);
  }

  /** @returns whether the tail could take them */
  append(tail: Tail, entries: readonly Entry[]): boolean {
    for (const entry of entries) {
      if (!tail.accept(entry)) return false;
      if (entry.event === undefined) this.#owner.onEnd(tail);
    }
    tail.wake();
    return true;
  }

  /**
   * Ends the subscriptions after a failure that would repeat itself. Any other failure is thrown, so that the backlog
   * tries again.
   */
  async #attempt(tails: readonly Tail[], work: (tails: readonly Tail[]) => Promise<void>): Promise<void> {
    try {
      await work(tails);
    } catch (error) {
      if (error instanceof EventStreamError && !isFinal(error)) throw error;
      // One key that is denied has Redis refuse the whole question.
      if (tails.length > 1) await Promise.all(tails.map((tail) => this.#attempt([tail], work)));
      else for (const tail of tails) this.#owner.onFailure(tail, error as Error);
    }
  }

  async #check(tails: readonly Tail[]): Promise<void> {
    const asked = tails.filter((tail) => this.#owner.has(tail));
    if (asked.length === 0) return;
    const streams = asked.map(({ key, last }) => ({ key, last }));
    const [now, changed] = await this.#store.check(streams);
    for (const [index, tail] of asked.entries()) {
      if (changed.has(index)) this.read(tail);
      else {
        if (tail.last === streams[index]?.last) this.#confirm(tail, now);
        tail.follow();
      }
      this.#owner.onChecked(tail);
    }
  }

  /**
   * Records that no entry is newer than the tail's last one. In an empty channel, entries may have come and gone
   * unseen; that counts as a loss.
   */
  #confirm(tail: Tail, now: number): void {
    const { last, confirmed } = tail;
    if (last !== origin || isUnbroken({ id: last, confirmed }, now, this.#store.timeToLive)) tail.confirm(now);
    else tail.rewind({ kept: undefined, resume: origin }, now);
  }

  async #read(tail: Tail): Promise<void> {
    if (!this.#owner.has(tail)) return;
    const { last } = tail;
    const page = await this.#store.page(tail.key, last);
    if (page.lease !== undefined && this.#owner.has(tail)) this.#owner.onLease(tail, page.lease);
    if (!this.append(tail, page.entries)) return this.#recover(tail);
    if (page.hasMore) return this.read(tail);
    if (page.entries.length === 0 && tail.last === last) await this.#compare(tail, page);
    tail.follow();
  }

  /** No entry follows the tail's last one. That one may still be the newest, may have aged out, or may be lost. */
  async #compare(tail: Tail, { newest, now }: Page): Promise<void> {
    const { last, confirmed } = tail;
    const { timeToLive } = this.#store;
    if (newest === last) return this.#confirm(tail, now);
    if (newest === origin && isUnbroken({ id: last, confirmed }, now, timeToLive)) return tail.confirm(now);
    const hasAgedOut = newest === origin ? now >= timeOf(last) + timeToLive : compareIds(newest, last) > 0;
    if (hasAgedOut) tail.rewind({ kept: undefined, resume: newest }, now);
    else await this.#recover(tail);
  }

  /** Redis has lost entries that this process had read: drops them from the tail, and reads on. */
  async #recover(tail: Tail): Promise<void> {
    const { losses, last } = tail;
    const before = losses.length;
    const { kept, resume, now } = await this.#store.shared(tail.key, tail.ids());
    if (losses.length === before && tail.last === last) {
      // Nothing is lost, but the next entry names another predecessor, so no broker wrote it.
      if (kept === last) throw foreignKey();
      tail.rewind({ kept, resume }, now);
    }
    this.read(tail);
  }
}
