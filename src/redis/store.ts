import type { History } from "../broker/checks.js";
import type { Redis } from "./client.js";
import { type Entry, isId, isUnbroken, origin, type Position, type RawEntry, readEntry, timeOf } from "./entry.js";
import { explain, within } from "./failure.js";
import { type Answer, ask } from "./question.js";
import type { Reads } from "./reads.js";
import { check, locate, page, shared } from "./reading-scripts.js";

/** As much as one page brings. A client that lags holds no more than this of its own. */
const pageSize = { entries: 256, bytes: 262_144 };

/** So many IDs are looked for at once. */
const searchSize = 1000;

/** A client may bring an ID from a server whose clock was ahead of this one's, by so many milliseconds. */
const clockSlack = 60_000;

/** So many channels are located in one question. */
const locateSize = 128;

interface Asking {
  readonly key: string;
  readonly position: Position;
  readonly promise: Promise<Location>;
  readonly resolve: (location: Location) => void;
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

/** Where a channel stands, as seen from a position. */
export interface Location {
  /** After the newest entry: what comes from now on comes after it. */
  readonly last: Position;
  /** Before the oldest entry that is held. */
  readonly start: Position;
  /** Whether nothing is missing between the position and what is held. */
  readonly isKnown: boolean;
  readonly hasEnded: boolean;
  /** Whether an event is held after the position; where that is not known, any event. */
  readonly hasMore: boolean;
  /** Whether it has had a producer, and its beginning is not there any more. */
  readonly isCut: boolean;
}

/** Entries after a position, in order. */
export interface Page {
  readonly entries: readonly Entry[];
  readonly hasMore: boolean;
  /** The ID of the newest entry of all. */
  readonly newest: string;
  /** For how many milliseconds the lease of the channel's producer still lasts. */
  readonly lease: number | undefined;
  readonly now: number;
}

/** What can be asked about the channels' keys. */
export class Store {
  readonly history: History;
  readonly timeToLive: number;
  readonly #redis: Redis;
  readonly #reads: Reads;
  readonly #timeout: number;
  readonly #asking = new Map<string, Asking>();

  constructor(redis: Redis, reads: Reads, timeout: number, history: History, timeToLive: number) {
    this.#redis = redis;
    this.#reads = reads;
    this.#timeout = timeout;
    this.history = history;
    this.timeToLive = timeToLive;
  }

  /** Asked many times in one turn of the event loop, it asks Redis once. What many ask goes in few questions. */
  locate(key: string, position: Position): Promise<Location> {
    const question = `${position.id} ${position.confirmed} ${key}`;
    let asking = this.#asking.get(question);
    if (asking === undefined) {
      const { promise, resolve, reject } = withResolvers<Location>();
      asking = { key, position, promise, resolve, reject };
      if (this.#asking.size === 0) setImmediate(() => this.#send());
      this.#asking.set(question, asking);
    }
    return asking.promise;
  }

  /** A part of what has been asked, so that thousands do not hold up the event loop. */
  #send(): void {
    const batch: Asking[] = [];
    for (const [question, asking] of this.#asking) {
      if (batch.length === locateSize) break;
      this.#asking.delete(question);
      batch.push(asking);
    }
    if (this.#asking.size > 0) setImmediate(() => this.#send());
    // Of a cluster's keys each may lie elsewhere.
    if (this.#redis.isCluster) for (const asking of batch) void this.#ask([asking]);
    else void this.#ask(batch);
  }

  async #ask(batch: readonly Asking[]): Promise<void> {
    const keys = batch.map(({ key }) => key);
    const args = [String(this.history.maxAge), ...batch.map(({ position }) => position.id)];
    const send = (command: readonly string[]) => this.#redis.send(keys[0] as string, command, this.#timeout);
    try {
      const { now, rest } = await within(this.#timeout, ask(send, { script: locate, keys, args }));
      for (const [index, { position, resolve, reject }] of batch.entries()) {
        const row = rest[index] as string[];
        if (row.length === 1) reject(explain(new Error(row[0])));
        else resolve(this.#location(row, position, now));
      }
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }

  #location(row: readonly string[], position: Position, now: number): Location {
    const { maxAge } = this.history;
    const [last, second, ended, following, after, oldest, beforeOldest, produced] = row as [
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
        ? (isMark(following) || isHeld(following)) && this.follows(after, position, following)
        : last !== ""
          ? position.id === last
          : isUnbroken(position, now, this.timeToLive));
    const newest = ended === "" ? last : second;
    const hasMore = isHeld(newest) && (!isKnown || (following !== "" && !isMark(following)));
    const end = { id: last === "" ? origin : last, confirmed: now };
    // A foreign entry may say anything, and will be refused when it is read.
    const start =
      oldest === ""
        ? end
        : isId(beforeOldest)
          ? { id: beforeOldest, confirmed: timeOf(beforeOldest) }
          : { id: origin, confirmed: timeOf(oldest) - 1 };
    const isTrimmed = oldest === "" ? last !== "" : beforeOldest !== origin;
    return { last: end, start, isKnown, hasEnded: ended !== "", hasMore, isCut: produced !== "" && isTrimmed };
  }

  /** Whether the entry `id`, whose predecessor is `after`, is the next one after a position. */
  follows(after: string, position: Position, id: string): boolean {
    if (after === origin) return isUnbroken(position, timeOf(id), this.timeToLive);
    return after === position.id;
  }

  async page(key: string, id: string): Promise<Page> {
    const { entries, bytes } = pageSize;
    const { now, rest } = await this.#reads.ask({
      script: page,
      keys: [key],
      args: [id, String(this.history.maxAge), String(bytes), String(entries)],
    });
    const [newest, lease, more, ...raw] = rest as [string, string, string, ...RawEntry[]];
    return {
      entries: raw.map((entry) => readEntry(key, entry)),
      hasMore: more !== "",
      newest,
      lease: lease === "" ? undefined : Number(lease),
      now,
    };
  }

  /** Which of the streams have another newest entry than they should have. */
  async check(
    streams: readonly { readonly key: string; readonly last: string }[],
  ): Promise<[now: number, Set<number>]> {
    const question = (part: typeof streams): Promise<Answer> =>
      this.#reads.ask({
        script: check,
        keys: part.map(({ key }) => key),
        args: part.map(({ last }) => last),
      });
    if (!this.#redis.isCluster) {
      const { now, rest } = await question(streams);
      return [now, new Set(rest.map(Number))];
    }
    // Of a cluster's keys each may lie elsewhere.
    const answers = await Promise.all(streams.map((stream) => question([stream])));
    const changed = new Set<number>();
    for (const [index, { rest }] of answers.entries()) if (rest.length > 0) changed.add(index);
    return [Math.min(...answers.map(({ now }) => now)), changed];
  }

  /**
   * Where to go on in a stream that has lost entries: after the newest of those `ids` (the newest first) that it still has,
   * or, where it has none, at `resume`.
   */
  async shared(
    key: string,
    ids: readonly string[],
  ): Promise<{ kept: string | undefined; resume: string; now: number }> {
    for (let at = 0; ; at += searchSize) {
      const { now, rest } = await this.#reads.ask({
        script: shared,
        keys: [key],
        args: ids.slice(at, at + searchSize),
      });
      const [kept, resume] = rest as [string, string];
      if (kept !== "") return { kept, resume: kept, now };
      if (at + searchSize >= ids.length) return { kept: undefined, resume: isId(resume) ? resume : origin, now };
    }
  }
}
