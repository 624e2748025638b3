import { channelEnded, channelProduced } from "../broker/checks.js";
import type { EventStreamError } from "../errors.js";
import type { EventParts } from "../broker/published-event.js";
import type { Redis } from "./client.js";
import { isId } from "./entry.js";
import { deniedBell, explain, unanswered, within } from "./failure.js";
import { ask, type Answer } from "./question.js";
import { type Keeping, writingArguments } from "./keeping.js";
import { append } from "./writing-scripts.js";

/** As much as one call of the script takes: Redis serves nobody else meanwhile. */
const largestBatch = { entries: 256, length: 262_144 };

interface Letter {
  readonly fields: readonly string[];
  readonly length: number;
  readonly resolve: (id: string) => void;
  readonly reject: (error: EventStreamError) => void;
  readonly timer: NodeJS.Timeout;
  /** Late is what has been rejected already. */
  state: "waiting" | "late";
}

/**
 * What this process publishes. Each channel has at most one call under way: its events keep their order, whatever the
 * client makes of retries, and what comes meanwhile goes in the next call, all together.
 */
export class Outbox {
  readonly #redis: Redis;
  readonly #keeping: Keeping;
  /** What waits for each channel that has a call under way. */
  readonly #waiting = new Map<string, Letter[]>();
  #mayRing = false;

  constructor(redis: Redis, keeping: Keeping) {
    this.#redis = redis;
    this.#keeping = keeping;
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
        letter.state = "late";
        reject(unanswered(this.#keeping.timeout));
      }, this.#keeping.timeout);
      const letter: Letter = { fields, length, resolve, reject, timer, state: "waiting" };
      const waiting = this.#waiting.get(key);
      if (waiting !== undefined) return void waiting.push(letter);
      this.#waiting.set(key, [letter]);
      void this.#send(key);
    });
  }

  /** Sends what waits for the channel, until nothing does. */
  async #send(key: string): Promise<void> {
    const waiting = this.#waiting.get(key) as Letter[];
    while (waiting.length > 0) {
      const batch = take(waiting);
      if (batch.length === 0) continue;
      try {
        settle(key, batch, await this.#deliver(key, batch), this.#keeping);
        this.#mayRing = true;
      } catch (error) {
        for (const { reject } of batch) reject(explain(error));
      }
      for (const { timer } of batch) clearTimeout(timer);
    }
    this.#waiting.delete(key);
  }

  /**
   * Settles when the client has: as long as a call may still be carried out, nothing overtakes it. Whoever waits is told
   * after the timeout.
   */
  async #deliver(key: string, batch: readonly Letter[]): Promise<Answer> {
    const { timeout } = this.#keeping;
    const database = await within(timeout, this.#redis.database());
    const args = [
      ...writingArguments(this.#keeping, key, database),
      this.#mayRing ? "" : "1",
      ...batch.flatMap(({ fields }) => [String(fields.length), ...fields]),
    ];
    return ask((command) => this.#redis.send(key, command, timeout), { script: append, keys: [key], args });
  }
}

/** The next batch: what has been given up is never sent. */
function take(waiting: Letter[]): Letter[] {
  const batch: Letter[] = [];
  let length = 0;
  let taken = 0;
  for (const letter of waiting) {
    if (batch.length === largestBatch.entries || (batch.length > 0 && length + letter.length > largestBatch.length))
      break;
    taken++;
    if (letter.state === "late") continue;
    length += letter.length;
    batch.push(letter);
  }
  waiting.splice(0, taken);
  return batch;
}

function settle(key: string, batch: readonly Letter[], { status, rest }: Answer, { ring, prefix }: Keeping): void {
  const channel = key.slice(prefix.length);
  const [refusal, ...results] = rest as string[];
  if (status === "denied" || refusal !== "") throw deniedBell(ring, prefix, refusal);
  for (const [index, { resolve, reject }] of batch.entries()) {
    const result = results[index] as string;
    if (isId(result)) resolve(result);
    else
      reject(
        result === "ENDED"
          ? channelEnded(channel)
          : result === "PRODUCED"
            ? channelProduced(channel)
            : explain(new Error(result)),
      );
  }
}
