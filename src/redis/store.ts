import type { History } from "../broker/checks.js";
import type { Redis } from "./client.js";
import { type Entry, isId, origin, type RawEntry, readEntry } from "./entry.js";
import type { BrokerSettings } from "./broker-settings.js";
import type { Answer } from "./question.js";
import type { Reads } from "./reads.js";
import { check, page, shared } from "./reading-scripts.js";

/** The most that one page holds. A subscription that lags holds one page of its own at most. */
const pageSize = { entries: 256, bytes: 262_144 };

/** The most IDs that one question looks for. */
const searchSize = 1000;

/** Entries after a position, in order. */
export interface Page {
  readonly entries: readonly Entry[];
  readonly hasMore: boolean;
  /** The ID of the newest entry in the stream. */
  readonly newest: string;
  /** For how many milliseconds the lease of the channel's producer still lasts, if it has one. */
  readonly lease: number | undefined;
  readonly now: number;
}

/** Reads the channels' streams. */
export class Store {
  readonly history: History;
  readonly timeToLive: number;
  readonly #redis: Redis;
  readonly #reads: Reads;

  constructor(redis: Redis, reads: Reads, { history, timeToLive }: BrokerSettings) {
    this.#redis = redis;
    this.#reads = reads;
    this.history = history;
    this.timeToLive = timeToLive;
  }

  async page(key: string, id: string): Promise<Page> {
    const { entries, bytes } = pageSize;
    const { now, rest } = await this.#reads.run({
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

  /**
   * The indexes of the streams that must be read: their newest entry is not `last`, their producer has a lease that must
   * be watched, or the entries of the streams before them were too large to look at all streams at once.
   */
  async check(
    streams: readonly { readonly key: string; readonly last: string }[],
  ): Promise<[now: number, Set<number>]> {
    const question = (part: typeof streams): Promise<Answer> =>
      this.#reads.run({
        script: check,
        keys: part.map(({ key }) => key),
        args: part.map(({ last }) => last),
      });
    if (!this.#redis.isCluster) {
      const { now, rest } = await question(streams);
      return [now, new Set(rest.map(Number))];
    }
    // In a cluster each key may have a master of its own.
    const answers = await Promise.all(streams.map((stream) => question([stream])));
    const changed = new Set<number>();
    for (const [index, { rest }] of answers.entries()) if (rest.length > 0) changed.add(index);
    return [Math.min(...answers.map(({ now }) => now)), changed];
  }

  /**
   * Finds where to go on in a stream that has lost entries: after the newest of the `ids` that it still has (`kept`)
   * or, if it has none of them, after `resume`. The `ids` must be in order, the newest first.
   */
  async shared(
    key: string,
    ids: readonly string[],
  ): Promise<{ kept: string | undefined; resume: string; now: number }> {
    for (let at = 0; ; at += searchSize) {
      const { now, rest } = await this.#reads.run({
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
