import type { ProducerStore, Verdict } from "../broker/producer-store.js";
import type { EventParts } from "../broker/published-event.js";
import { channelTag } from "./channel-tag.js";
import type { EventStreamError } from "../errors.js";
import type { Redis } from "./client.js";
import { deniedBell, isFinal, withTimeout } from "./failure.js";
import { type BrokerSettings, writingArguments } from "./broker-settings.js";
import { runScript } from "./question.js";
import { produce } from "./writing-scripts.js";

/** Keeps the records of the channels' producers in Redis. */
export class ProducerRecords implements ProducerStore {
  readonly hasLeases = true;
  /** Calls `wake` when the channel has ended. */
  readonly watch: ProducerStore["watch"];
  readonly #redis: Redis;
  readonly #settings: BrokerSettings;

  constructor(redis: Redis, settings: BrokerSettings, watch: ProducerStore["watch"]) {
    this.#redis = redis;
    this.#settings = settings;
    this.watch = watch;
  }

  isFinal(error: EventStreamError): boolean {
    return isFinal(error) || this.#redis.isClosed();
  }

  async claim(channel: string, token: string, lease: number): Promise<boolean> {
    const { verdict } = await this.#request(channel, "claim", token, lease);
    return verdict === "held";
  }

  append(channel: string, token: string, number: number, parts: EventParts): Promise<Verdict> {
    return this.#judge(channel, "append", token, number, parts);
  }

  renew(channel: string, token: string, lease: number): Promise<Verdict> {
    return this.#judge(channel, "renew", token, lease);
  }

  end(channel: string, token: string, last?: EventParts): Promise<Verdict> {
    return this.#judge(channel, "end", token, 0, last);
  }

  async stop(channel: string): Promise<boolean> {
    const { verdict } = await this.#request(channel, "stop");
    return verdict === "stopped";
  }

  /**
   * Records a producer as lost if its lease has run out, and ends the channel of one that Redis has forgotten.
   *
   * @returns for how many milliseconds the lease still lasts; `undefined` if no lease is valid
   */
  async expire(channel: string): Promise<number | undefined> {
    const { rest } = await this.#request(channel, "expire");
    return rest === "" ? undefined : Number(rest);
  }

  async #judge(...request: Request): Promise<Verdict> {
    const { verdict } = await this.#request(...request);
    return verdict as Verdict;
  }

  async #request(
    ...[channel, verb, token = "", number = 0, parts = {}]: Request
  ): Promise<{ verdict: string; rest: string }> {
    const { timeout, prefix, ring } = this.#settings;
    const key = prefix + channel;
    const answering = this.#redis.database().then((database) =>
      runScript((command) => this.#redis.send(key, command, timeout), {
        script: produce,
        keys: [key],
        args: [
          ...writingArguments(this.#settings, channelTag(key).firstCount, database),
          verb,
          token,
          String(number),
          ...(Object.entries(parts).flat() as string[]),
        ],
      }),
    );
    const { status, rest } = await withTimeout(timeout, answering);
    const [verdict, left] = rest as [string, string];
    if (status === "denied") throw deniedBell(ring, prefix, new Error(verdict));
    return { verdict, rest: left };
  }
}

type Request = [
  channel: string,
  verb: "claim" | "append" | "renew" | "end" | "stop" | "expire",
  token?: string,
  number?: number,
  parts?: EventParts | undefined,
];
