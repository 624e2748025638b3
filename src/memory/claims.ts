import type { ProducerStore, Verdict } from "../broker/producer-store.js";
import type { EventParts } from "../broker/published-event.js";
import type { Channels } from "./channels.js";
import type { Claim } from "./log.js";

/**
 * The producers of channels in memory. There are no leases, because producers and channels end with the same process.
 */
export class ChannelClaims implements ProducerStore {
  readonly hasLeases = false;
  readonly #channels: Channels;

  constructor(channels: Channels) {
    this.#channels = channels;
  }

  isFinal(): boolean {
    return true;
  }

  async claim(channel: string, token: string): Promise<boolean> {
    const log = this.#channels.get(channel);
    if (log?.isEnded === true || log?.claim !== undefined) return false;
    this.#channels.open(channel).claim = { token, state: "live" };
    return true;
  }

  async append(channel: string, token: string, _number: number, parts: EventParts): Promise<Verdict> {
    return this.#as(token, channel, () => void this.#channels.append(channel, parts));
  }

  async renew(channel: string, token: string): Promise<Verdict> {
    return this.#as(token, channel, () => {});
  }

  async end(channel: string, token: string, last?: EventParts): Promise<Verdict> {
    return this.#as(token, channel, () => {
      if (last !== undefined) this.#channels.append(channel, last);
      this.#end(channel, "ended");
    });
  }

  async stop(channel: string): Promise<boolean> {
    const claim = this.#channels.get(channel)?.claim;
    if (claim?.state !== "live") return false;
    this.#end(channel, "stopped");
    claim.wake?.();
    return true;
  }

  watch(channel: string, _token: string, wake: () => void): () => void {
    const claim = this.#channels.get(channel)?.claim;
    if (claim !== undefined) claim.wake = wake;
    // Stopped since the claim was made.
    if (claim?.state !== "live") wake();
    return () => {
      if (claim !== undefined) claim.wake = undefined;
    };
  }

  #end(channel: string, state: Claim["state"]): void {
    const log = this.#channels.open(channel);
    if (log.claim !== undefined) log.claim.state = state;
    this.#channels.end(channel);
  }

  #as(token: string, channel: string, act: () => void): Verdict {
    const claim = this.#channels.get(channel)?.claim;
    if (claim?.token !== token) return "lost";
    if (claim.state === "live") act();
    return claim.state === "stopped" ? "stopped" : "held";
  }
}
