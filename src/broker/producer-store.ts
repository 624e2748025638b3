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
 * For each channel that was ever claimed, the store keeps a record for as long as it keeps the channel: the producer's
 * token, the number of the producer's last event, when the lease ends (by the store's clock), and how the producer
 * ended. Each call is one atomic step in the store. Calls for one channel are carried out in the order in which they
 * are made.
 *
 * A call that finds that the lease has run out makes the producer lost in the same step: it appends
 * `{ event: "lost", data: "" }` and the mark of the end. Subscribing does the same, and so does the code that watches
 * the channels to which this process has subscriptions. These subscriptions must get the event and the end within two
 * seconds after the lease runs out.
 *
 * After a rejection with `ERR_BROKER_UNAVAILABLE`, nobody knows whether the call was carried out. The call may be
 * repeated with the same arguments, and must then have the same outcome as if it had been made once. Any other
 * rejection is final.
 */
export interface ProducerStore {
  /** `false` if the store ends with its producers' process, as memory does: no lease is renewed, and none runs out. */
  readonly hasLeases: boolean;

  /** Whether asking again cannot help, because (say) a permission is missing or the store is closed. */
  isFinal(error: EventStreamError): boolean;

  /**
   * Makes `token` the producer of the channel for `lease` milliseconds.
   *
   * @returns whether it is the producer: `false` if the channel has a record with another token, or has ended
   */
  claim(channel: string, token: string, lease: number): Promise<boolean>;

  /** Appends the producer's event `number`, counted from 1. Does nothing if that event is stored already. */
  append(channel: string, token: string, number: number, parts: EventParts): Promise<Verdict>;

  /** Makes the lease last `lease` milliseconds from now. The channel must be kept that long, whatever `maxAge` is. */
  renew(channel: string, token: string, lease: number): Promise<Verdict>;

  /**
   * Appends `last`, if there is one, and ends the channel. Answers `"held"` again if this token has already ended it.
   */
  end(channel: string, token: string, last?: EventParts): Promise<Verdict>;

  /**
   * Ends the channel and takes the producer's token away.
   *
   * @returns whether there was a producer whose lease had not run out
   */
  stop(channel: string): Promise<boolean>;

  /**
   * Calls `wake` within a second after someone other than the producer has ended the channel, even if that was before
   * this call, while the answer to the claim was under way. A superfluous call costs a `renew`; a missing call makes the
   * producer stop late.
   *
   * @returns a function that ends the watch
   */
  watch(channel: string, token: string, wake: () => void): () => void;
}
