import type { Row } from "./database.js";
import type { Place } from "./place.js";

/** What a channel's row says. */
export interface ChannelStatus {
  /** Part of the ids of its events: the channel's random id, and its era, which is the server's timeline. */
  readonly run: string;
  /** The run before the server's timeline last changed. Places in it are valid up to the event numbered `since`. */
  readonly priorRun: string | undefined;
  readonly since: number;
  /** The number of its last event. */
  readonly last: number;
  readonly isEnded: boolean;
  /** Whether the channel has a producer (`live`), had one (`over`), or never had one (`none`). */
  readonly production: "none" | "live" | "over";
  /** When it was made, in milliseconds of the server's clock. */
  readonly born: number;
}

export function statusOf([id, era, priorEra, since, last, ended, born, production]: Row): ChannelStatus {
  return {
    run: `${id}.${era}`,
    priorRun: priorEra === null ? undefined : `${id}.${priorEra}`,
    since: Number(since),
    last: Number(last),
    isEnded: ended !== null,
    born: Number(born),
    production: production === "live" ? "live" : typeof production === "string" ? "over" : "none",
  };
}

/**
 * The number of the event after which to continue from a place. It is `undefined` if the place does not belong to
 * this channel, or may not, or if the server has lost events before the place.
 *
 * A channel is kept for at least `maxAge`. So if this one was born less than `maxAge` after a moment without a
 * channel, there was no other in between. (What counts is its birth. Its commit may come later.)
 */
export function placeIn(status: ChannelStatus, place: Place, maxAge: number): number | undefined {
  if ("asOf" in place) return status.born - place.asOf < maxAge ? 0 : undefined;
  if (place.run === status.run) return place.n <= status.last ? place.n : undefined;
  return place.run === status.priorRun && place.n <= status.since ? place.n : undefined;
}
