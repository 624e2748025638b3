import { channelEnded, channelProduced } from "../broker/checks.js";
import type { EventStreamError } from "../errors.js";
import type { EventParts } from "../broker/published-event.js";
import { afterOneTurn } from "../runtime/turn.js";
import type { Redis } from "./client.js";
import { compareIds, isId } from "./entry.js";
import { deniedBell, toBrokerError, unanswered, withTimeout } from "./failure.js";
import { runScript, type Answer } from "./question.js";
import { type BrokerSettings, writingArguments } from "./broker-settings.js";
import { channelTag } from "./channel-tag.js";
import { time } from "./reading-scripts.js";
import { append } from "./writing-scripts.js";

/** The most that goes in one call of the script. Redis serves no other client while the script runs. */
const largestBatch = { entries: 256, length: 262_144 };

/** How many channels the queue remembers. */
const mostRecent = 256;

/** A channel that this process has published to, not long ago. */
interface RecentChannel {
  readonly firstCount: number;
  /** The ID of the newest entry that this process has stored. */
  newest: string | undefined;
}

interface QueuedEvent {
  readonly fields: readonly string[];
  readonly length: number;
  readonly resolve: (id: string) => void;
  readonly reject: (error: EventStreamError) => void;
  readonly timer: NodeJS.Timeout;
}

/** The time in Redis' last answer, and `performance.now()` when it came. */
interface Clock {
  readonly now: number;
  readonly at: number;
}

/**
 * The events that this process publishes. Each channel has at most one call under way, so its events keep their order
 * even if the client retries. Events that arrive in the meantime go together in the next call.
 */
export class PublishQueue {
  readonly #redis: Redis;
  readonly #settings: BrokerSettings;
  /** The events that wait, for each channel that has a call under way. */
  readonly #waiting = new Map<string, Set<QueuedEvent>>();
  readonly #recent = new Map<string, RecentChannel>();
  #database: number | undefined;
  #mayRing = false;
  /** Asked for before the first call: without it, the script would read the whole channel for a repeated call. */
  #clock: Clock | undefined;

  constructor(redis: Redis, settings: BrokerSettings) {
    this.#redis = redis;
    this.#settings = settings;
  }

  /** @throws {EventStreamError} (as a rejection) `ERR_CHANNEL_ENDED`, `ERR_FOREIGN_ENTRY`, `ERR_BROKER_UNAVAILABLE` */
  append(key: string, parts: EventParts): Promise<string> {
    return this.#add(key, Object.entries(parts).flat() as string[]);
  }

  end(key: string): Promise<string> {
    return this.#add(key, ["end", ""]);
  }

  #add(key: string, fields: readonly string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      const length = fields.reduce((sum, field) => sum + field.length, 0);
      const timer = setTimeout(() => {
        // A call may be under way for as long as the client waits: what has been rejected is not kept until then.
        this.#waiting.get(key)?.delete(queued);
        reject(unanswered(this.#settings.timeout));
      }, this.#settings.timeout);
      const queued: QueuedEvent = { fields, length, resolve, reject, timer };
      const waiting = this.#waiting.get(key);
      if (waiting !== undefined) return void waiting.add(queued);
      this.#waiting.set(key, new Set([queued]));
      void this.#send(key);
    });
  }

  /**
   * Sends the channel's events until none is waiting. The callers of one batch go on when the next one has been sent,
   * so that Redis is at work meanwhile.
   */
  async #send(key: string): Promise<void> {
    const waiting = this.#waiting.get(key) as Set<QueuedEvent>;
    let settleLast: (() => void) | undefined;
    while (waiting.size > 0) {
      const sending = this.#sendBatch(key, take(waiting));
      if (settleLast !== undefined) {
        // node-redis writes in an immediate that it asks for before the tick, on a cluster too.
        await new Promise<void>((resolve) => process.nextTick(afterOneTurn, resolve));
        settleLast();
      }
      settleLast = await sending;
    }
    this.#waiting.delete(key);
    settleLast?.();
  }

  /** Never rejects: resolves, when Redis has answered or the client has given up, with what tells the callers. */
  async #sendBatch(key: string, batch: readonly QueuedEvent[]): Promise<() => void> {
    try {
      const answer = await this.#deliver(key, batch);
      const results = resultsIn(answer, this.#settings);
      this.#mayRing = true;
      this.#setClock(answer);
      return () => settle(key.slice(this.#settings.prefix.length), batch, results);
    } catch (error) {
      return () => {
        for (const { reject } of batch) reject(toBrokerError(error));
      };
    } finally {
      for (const { timer } of batch) clearTimeout(timer);
    }
  }

  /**
   * Settles when the client does, even if the callers have been rejected by then because of the timeout. Until then,
   * Redis may still carry out the call, and no later event may overtake it.
   */
  async #deliver(key: string, batch: readonly QueuedEvent[]): Promise<Answer> {
    const { timeout } = this.#settings;
    const channel = this.#recall(key);
    const database = (this.#database ??= await withTimeout(timeout, this.#redis.database()));
    const send = (command: readonly string[]) => this.#redis.send(key, command, timeout);
    const clock = this.#clock ?? this.#setClock(await runScript(send, { script: time, keys: [key], args: [] }));
    const args = [
      ...writingArguments(this.#settings, channel.firstCount, database),
      this.#mayRing ? "" : "1",
      this.#since(channel, clock),
      ...batch.flatMap(({ fields }) => [String(fields.length), ...fields]),
    ];
    const answer = await runScript(send, { script: append, keys: [key], args });
    channel.newest = newestIn(answer) ?? channel.newest;
    if (answer.status !== "behind") return answer;
    // The server's clock has stepped back, or another master has the key.
    this.#setClock(answer);
    channel.newest = undefined;
    return this.#deliver(key, batch);
  }

  #setClock({ now }: Answer): Clock {
    return (this.#clock = { now, at: performance.now() });
  }

  #recall(key: string): RecentChannel {
    const channel = this.#recent.get(key) ?? { firstCount: channelTag(key).firstCount, newest: undefined };
    this.#recent.delete(key);
    this.#recent.set(key, channel);
    if (this.#recent.size > mostRecent) this.#recent.delete(this.#recent.keys().next().value as string);
    return channel;
  }

  /** An ID older than any that the channel gets from now on: a repeated call searches only what is newer. */
  #since({ newest }: RecentChannel, { now, at }: Clock): string {
    const elapsed = performance.now() - at;
    // Clocks drift, and in a cluster each master has its own.
    const slack = elapsed / 1000 + (this.#redis.isCluster ? 100 : 1);
    const estimate = `${Math.floor(now + elapsed - slack)}-0`;
    return newest !== undefined && compareIds(newest, estimate) > 0 ? newest : estimate;
  }
}

/** The ID of the newest entry that a call has stored. */
function newestIn({ rest }: Answer): string | undefined {
  return rest.findLast((result): result is string => typeof result === "string" && isId(result));
}

/** The next batch. */
function take(waiting: Set<QueuedEvent>): QueuedEvent[] {
  const batch: QueuedEvent[] = [];
  let length = 0;
  for (const queued of waiting) {
    if (batch.length === largestBatch.entries || (batch.length > 0 && length + queued.length > largestBatch.length))
      break;
    waiting.delete(queued);
    length += queued.length;
    batch.push(queued);
  }
  return batch;
}

/** @throws {EventStreamError} `ERR_BROKER_UNAVAILABLE` if this user may not publish messages */
function resultsIn({ status, rest }: Answer, { ring, prefix }: BrokerSettings): readonly string[] {
  const [refusal, ...results] = rest as string[];
  if (status === "denied" || refusal !== "") throw deniedBell(ring, prefix, refusal);
  return results;
}

function settle(channel: string, batch: readonly QueuedEvent[], results: readonly string[]): void {
  for (const [index, { resolve, reject }] of batch.entries()) {
    const result = results[index] as string;
    if (isId(result)) resolve(result);
    else
      reject(
        result === "ENDED"
          ? channelEnded(channel)
          : result === "PRODUCED"
            ? channelProduced(channel)
            : toBrokerError(new Error(result)),
      );
  }
}
