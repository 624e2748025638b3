import type { Row } from "./database.js";
import type { Place } from "./place.js";

/** What a channel's row says. */
export interface ChannelStatus {
  /** Part of the ids of its events: the channel's random id, and its era, which is the server's timeline. */
  readonly run: string;
  /** The run before the server's timeline last changed. Its places are valid up to `since`. */
  readonly priorRun: string | undefined;
  readonly since: number;
  /** The number of its last event. */
  readonly last: number;
  readonly isEnded: boolean;
  /** Whether a producer fills it, or did. */
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
 * The number of the event after which a place continues in the channel. `undefined` where nobody can tell: the place
 * is of another run, or after events that the server has lost.
 *
 * A channel lives for `maxAge` at least. So if one was born less than `maxAge` after a moment at which there was
 * none, there was no other in between. (Its birth counts, not its commit, which may come later.)
 */
export function placeIn(status: ChannelStatus, place: Place, maxAge: number): number | undefined {
  if ("asOf" in place) return status.born - place.asOf < maxAge ? 0 : undefined;
  if (place.run === status.run) return place.n <= status.last ? place.n : undefined;
  return place.run === status.priorRun && place.n <= status.since ? place.n : undefined;
}
