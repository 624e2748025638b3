import type { Row } from "./database.js";
import type { Place } from "./place.js";

/** A channel's row: what every place in it is held against. */
export interface Head {
  /** In the ids of its events: the channel's random id, and the era (the server's timeline) that it is in. */
  readonly run: string;
  /** The run before the server's timeline changed last; its places are good up to `since`. */
  readonly priorRun: string | undefined;
  readonly since: number;
  readonly last: number;
  readonly isEnded: boolean;
  /** Whether a producer fills it, or did. */
  readonly production: "none" | "live" | "over";
  /** In milliseconds of the server's clock. */
  readonly born: number;
}

export function headOf([id, era, priorEra, since, last, ended, born, production]: Row): Head {
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
 * The number of the event after which a place goes on in the channel, or `undefined` where that cannot be told: it is of another
 * run, or of events that the server has lost. A channel lives for `maxAge` at least, so that no other one can have been
 * between a time at which there was none and one that was born less than that later. (Born, not committed: that may be earlier.)
 */
export function placeIn(head: Head, place: Place, maxAge: number): number | undefined {
  if ("asOf" in place) return head.born - place.asOf < maxAge ? 0 : undefined;
  if (place.run === head.run) return place.n <= head.last ? place.n : undefined;
  return place.run === head.priorRun && place.n <= head.since ? place.n : undefined;
}
