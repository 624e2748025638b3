import type { History } from "../broker/checks.js";
import type { EventStreamError } from "../errors.js";
import type { Redis } from "./client.js";
import { isId, isNext, isUnbroken, origin, type Position, timeOf } from "./entry.js";
import { toBrokerError, isFinal, withTimeout } from "./failure.js";
import type { BrokerSettings } from "./broker-settings.js";
import { runScript } from "./question.js";
import { locate } from "./reading-scripts.js";

/** How far the clock of the server that made an ID may have been ahead of this server's, in milliseconds. */
const clockSlack = 60_000;

/** The most channels that one question names. */
const batchSize = 128;

/** What a channel holds, as seen from a position. */
export interface ChannelView {
  /** The position of the newest entry. Every entry added from now on comes after it. */
  readonly last: Position;
  /** The position before the oldest entry that is held. */
  readonly start: Position;
  /** Whether nothing is missing between the position and what is held. */
  readonly isKnown: boolean;
  readonly hasEnded: boolean;
  /** Whether an event is held after the position or, if `isKnown` is false, whether any event is held. */
  readonly hasMore: boolean;
  /** Whether the channel has had a producer and no longer holds its beginning. */
  readonly isCut: boolean;
  /** For how many milliseconds the lease of the channel's producer still lasts, if it has one. */
  readonly lease: number | undefined;
}

/** A question that is waiting for its answer. */
interface Asking {
  readonly key: string;
  readonly position: Position;
  readonly promise: Promise<ChannelView>;
  readonly resolve: (view: ChannelView) => void;
  readonly reject: (error: unknown) => void;
}

function withResolvers<T>(): {
  promise: Promise<T>;
  resolve: (value: T) => void;
  reject: (error: unknown) => void;
} {
  let [resolve, reject] = [(_value: T): void => {}, (_error: unknown): void => {}];
  const promise = new Promise<T>((...settle) => ([resolve, reject] = settle));
  return { promise, resolve, reject };
}

/** Finds out what channels hold, in as few commands as possible. */
export class Locator {
  readonly #redis: Redis;
  readonly #timeout: number;
  readonly #history: History;
  readonly #timeToLive: number;
  readonly #asking = new Map<string, Asking>();

  constructor(redis: Redis, { timeout, history, timeToLive }: BrokerSettings) {
    this.#redis = redis;
    this.#timeout = timeout;
    this.#history = history;
    this.#timeToLive = timeToLive;
  }

  /**
   * A question that is asked many times in one turn of the event loop goes to Redis once; different ones go in batches.
   */
  locate(key: string, position: Position): Promise<ChannelView> {
    const question = `${position.id} ${position.confirmed} ${key}`;
    let asking = this.#asking.get(question);
    if (asking === undefined) {
      const { promise, resolve, reject } = withResolvers<ChannelView>();
      asking = { key, position, promise, resolve, reject };
      if (this.#asking.size === 0) setImmediate(() => this.#send());
      this.#asking.set(question, asking);
    }
    return asking.promise;
  }

  /** Sends one batch a turn, so that thousands of questions do not hold up the event loop. */
  #send(): void {
    const batch: Asking[] = [];
    for (const [question, asking] of this.#asking) {
      if (batch.length === batchSize) break;
      this.#asking.delete(question);
      batch.push(asking);
    }
    if (this.#asking.size > 0) setImmediate(() => this.#send());
    // In a cluster each key may have a master of its own.
    if (this.#redis.isCluster) for (const asking of batch) void this.#locateAll([asking]);
    else void this.#locateAll(batch);
  }

  async #locateAll(batch: readonly Asking[]): Promise<void> {
    const keys = batch.map(({ key }) => key);
    const args = [String(this.#history.maxAge), ...batch.map(({ position }) => position.id)];
    const send = (command: readonly string[]) => this.#redis.send(keys[0] as string, command, this.#timeout);
    try {
      const { now, rest } = await withTimeout(this.#timeout, runScript(send, { script: locate, keys, args }));
      // Redis looks at fewer channels at a time if their events are large.
      const answered = batch.slice(0, rest.length);
      if (answered.length < batch.length) void this.#locateAll(batch.slice(rest.length));
      for (const [index, { position, resolve, reject }] of answered.entries()) {
        const row = rest[index] as string[];
        if (row.length === 1) reject(toBrokerError(new Error(row[0])));
        else resolve(this.#view(row, position, now));
      }
    } catch (error) {
      // One key that is denied has Redis refuse the whole question.
      if (batch.length > 1 && isFinal(error as EventStreamError))
        for (const each of batch) void this.#locateAll([each]);
      else for (const { reject } of batch) reject(error);
    }
  }

  #view(row: readonly string[], position: Position, now: number): ChannelView {
    const { maxAge } = this.#history;
    const [last, second, ended, following, after, oldest, beforeOldest, produced, lease] = row as [
      string,
      string,
      string,
      string,
      string,
      string,
      string,
      string,
      string,
    ];
    const isHeld = (id: string) => id !== "" && timeOf(id) >= now - maxAge;
    const isMark = (id: string) => ended !== "" && id === last;
    const isKnown =
      position.confirmed <= now + clockSlack &&
      (following !== ""
        ? (isMark(following) || isHeld(following)) && isNext(after, position, following, this.#timeToLive)
        : last !== ""
          ? position.id === last
          : isUnbroken(position, now, this.#timeToLive));
    const newest = ended === "" ? last : second;
    const hasMore = isHeld(newest) && (!isKnown || (following !== "" && !isMark(following)));
    const end = { id: last === "" ? origin : last, confirmed: now };
    // An entry that no broker wrote may have anything as its predecessor. It will be refused when it is read.
    const start =
      oldest === ""
        ? end
        : isId(beforeOldest)
          ? { id: beforeOldest, confirmed: timeOf(beforeOldest) }
          : { id: origin, confirmed: timeOf(oldest) - 1 };
    const isTrimmed = oldest === "" ? last !== "" : beforeOldest !== origin;
    return {
      last: end,
      start,
      isKnown,
      hasEnded: ended !== "",
      hasMore,
      isCut: produced !== "" && isTrimmed,
      lease: lease === "" ? undefined : Number(lease),
    };
  }
}
