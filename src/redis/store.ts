import type { History } from "../broker/checks.js";
import type { EventParts } from "../broker/published-event.js";
import { ask, type RedisClient } from "./client.js";
import { before, compareIds, type Entry, isBefore, isId, origin, type RawEntry, readEntry, timeOf } from "./entry.js";
import { firstCount } from "./channel-tag.js";
import { append, locate, page } from "./scripts.js";

/**
 * How much longer than its newest event the key of a channel lives at most, in milliseconds: time enough for readers to
 * know that they missed none before they find a new stream in its place.
 */
const longestMargin = 60_000;

/** So many entries are read at once. A client that lags holds no more than this of its own. */
const pageSize = 64;

/** Where a channel stands, as seen from a position. */
export interface Location {
  /** The position after the newest entry: what comes from now on comes after it. */
  readonly last: string;
  /** The position before the oldest entry that is held. */
  readonly start: string;
  /** Whether nothing is missing between the position and what is held. */
  readonly isKnown: boolean;
  readonly hasEnded: boolean;
  /** Whether an event is held after the position; where that is not known, any event. */
  readonly hasMore: boolean;
  /** `performance.now()` before the question was asked. */
  readonly at: number;
}

/** The channels' keys in Redis, through the application's client. */
export class Store {
  readonly history: History;
  /** How long a key outlives its newest entry. */
  readonly timeToLive: number;
  readonly #client: RedisClient;
  readonly #timeout: number;
  readonly #asked = new Map<string, Promise<Location>>();

  constructor(client: RedisClient, timeout: number, history: History) {
    this.#client = client;
    this.#timeout = timeout;
    this.history = history;
    this.timeToLive = history.maxAge + Math.min(history.maxAge, longestMargin);
  }

  ask(args: readonly string[]): Promise<unknown> {
    return ask(this.#client, this.#timeout, args);
  }

  append(key: string, parts: EventParts): Promise<string> {
    return this.#append(key, this.history.maxEvents, Object.entries(parts).flat() as string[]);
  }

  /** The mark takes no event's place. */
  end(key: string): Promise<string> {
    return this.#append(key, this.history.maxEvents + 1, ["end", ""]);
  }

  #append(key: string, keep: number, fields: readonly string[]): Promise<string> {
    return this.ask([
      "EVAL",
      append,
      "1",
      key,
      String(keep),
      String(this.history.maxAge),
      String(this.timeToLive),
      String(firstCount(key)),
      ...fields,
    ]) as Promise<string>;
  }

  /** The entries after a position, a page of them, in order. */
  async page(key: string, position: string): Promise<readonly Entry[]> {
    const reply = await this.ask(["EVAL", page, "1", key, position, String(pageSize), String(this.history.maxAge)]);
    return (reply as RawEntry[]).map((raw) => this.follow(readEntry(key, raw), position, false));
  }

  /**
   * The first entry of a stream, as it comes to a reader at `position`: right after it, where nothing can have come
   * between, because the reader was there or a key would still be; after something that is missing everywhere else.
   */
  follow(entry: Entry, position: string, isWitness: boolean): Entry {
    if (entry.after !== origin) return entry;
    const time = timeOf(entry.id);
    return { ...entry, after: isWitness || this.isFresh(position, time) ? position : before(time) };
  }

  /** Asked many times in one turn of the event loop, it asks Redis once: nothing is sent before the turn is over. */
  locate(key: string, position: string): Promise<Location> {
    const question = `${position} ${key}`;
    let answer = this.#asked.get(question);
    if (answer === undefined) {
      answer = this.#locate(key, position);
      this.#asked.set(question, answer);
      setImmediate(() => this.#asked.delete(question));
    }
    return answer;
  }

  async #locate(key: string, position: string): Promise<Location> {
    const at = performance.now();
    const reply = await this.ask(["EVAL", locate, "1", key, position, String(this.history.maxAge)]);
    const [time, last, second, ended, following, after, oldest, beforeOldest] = reply as [
      string,
      string,
      string,
      string,
      string,
      string,
      string,
      string,
    ];
    const now = Number(time);
    const isHeld = (id: string) => id !== "" && timeOf(id) >= now - this.history.maxAge;
    const isMark = (id: string) => ended !== "" && id === last;
    const isKnown =
      following === ""
        ? position === last || (last === "" && this.isFresh(position, now))
        : (after === position || (after === origin && this.isFresh(position, timeOf(following)))) &&
          (isMark(following) || isHeld(following));
    const newest = ended === "" ? last : second;
    const hasMore = isHeld(newest) && (!isKnown || compareIds(newest, position) > 0);
    const end = last === "" ? before(now) : last;
    // Nothing is before the first entry of a stream; a foreign one may say anything, and will be refused when it is read.
    const start = oldest === "" ? end : isId(beforeOldest) ? beforeOldest : before(timeOf(oldest));
    return { last: end, start, isKnown, hasEnded: ended !== "", hasMore, at };
  }

  /** Whether the position in an empty channel is so young that a key made since then would have been there at `time`. */
  isFresh(position: string, time: number): boolean {
    return isBefore(position) && time - timeOf(position) < this.timeToLive && time >= timeOf(position);
  }
}
