import type { EventStreamError } from "../errors.js";
import type { EventParts } from "./published-event.js";

/**
 * What the store answers a producer. `"held"`: its token is valid, and its request has been carried out; `"stopped"`:
 * `stop` was called; `"lost"`: its lease has run out, or the store has forgotten it. The last two are final.
 */
export type Verdict = "held" | "stopped" | "lost";

/**
 * What a store implements for `produce` and `stop`; everything else is in `ChannelProducer`.
 *
 * For each channel that was ever claimed the store keeps, as long as the channel, a record: the producer's token, the
 * number of its last event, until when its lease lasts (by the store's clock), and how it ended. Each call is one step
 * in the store. Calls for one channel are carried out in the order in which they are made.
 *
 * Whichever call finds that the lease has run out makes the producer lost, in the same step: it appends `{ event:
 * "lost", data: "" }` and the mark of the end. So does subscribing, and whatever watches the channels that this process
 * has subscriptions to: they must have the two within two seconds of the end of the lease.
 *
 * After a rejection with `ERR_BROKER_UNAVAILABLE`, nobody knows whether the call was carried out. It is made again with
 * the same arguments, and must then have the same outcome as if it had been made once. Any other rejection is final.
 */
export interface ProducerStore {
  /** `false` if the store ends with its producers' process, as memory does: no lease is renewed, and none runs out. */
  readonly hasLeases: boolean;

  /** Whether asking again cannot help: the schema or a permission is missing, and nothing was done. */
  isFinal(error: EventStreamError): boolean;

  /**
   * Makes `token` the producer of the channel for `lease` milliseconds.
   *
   * @returns whether it is the producer: `false` where the channel has a record with another token, or has ended
   */
  claim(channel: string, token: string, lease: number): Promise<boolean>;

  /** Appends the producer's event with this number; does nothing if that is stored already. The first one is 1. */
  append(channel: string, token: string, number: number, parts: EventParts): Promise<Verdict>;

  /** The lease lasts `lease` milliseconds from now. The channel must live as long, whatever `maxAge` is. */
  renew(channel: string, token: string, lease: number): Promise<Verdict>;

  /** Appends `last`, if there is one, and ends the channel. `"held"` again if it was this token that ended it. */
  end(channel: string, token: string, last?: EventParts): Promise<Verdict>;

  /**
   * Ends the channel and takes the producer's token away.
   *
   * @returns whether there was a producer, its lease not over
   */
  stop(channel: string): Promise<boolean>;

  /**
   * Calls `wake` within a second after the channel has ended without the producer's doing. A call too many costs a
   * `renew`, one too few a late stop.
   *
   * @returns a function that ends the watch
   */
  watch(channel: string, token: string, wake: () => void): () => void;
}
