import type { History, SubscribeSettings } from "../broker/checks.js";
import { placeIn } from "./channel-status.js";
import type { Newest } from "./cursor.js";
import type { Place } from "./place.js";
import type { Location } from "./store.js";

/** Where a subscription begins in a channel. */
export interface Beginning {
  readonly place: Place;
  readonly newest: Newest;
  /** Whether the channel has ended, and nothing is left in it after the place. */
  readonly isOver: boolean;
  /** Whether events are missing before the place. */
  readonly isMissing: boolean;
}

/** @param known this channel's place in the last event ID, if the ID contains one */
export function beginningIn(
  { status, start, clock }: Location,
  known: Place | undefined,
  { lastEventId, from }: SubscribeSettings,
  { maxAge }: History,
): Beginning {
  const isNew = lastEventId === undefined;
  if (status === undefined) {
    // A channel is kept for at least `maxAge`, so within less time none can have been made and forgotten unnoticed.
    const isStillAbsent = known !== undefined && "asOf" in known && clock - known.asOf < maxAge;
    const place = { asOf: clock };
    return { place, newest: { place, status }, isOver: false, isMissing: !isNew && !isStillAbsent };
  }
  const { run, last, isEnded, production } = status;
  const kept = known === undefined ? undefined : placeIn(status, known, maxAge);
  const isMissing = isNew
    ? // What a producer writes belongs together, so it is incomplete without its beginning.
      from === "start" && production !== "none" && start > 0
    : kept === undefined || kept < start;
  const n = isMissing || (isNew && from === "start") ? start : (kept ?? last);
  return { place: { run, n }, newest: { place: { run, n: last }, status }, isOver: isEnded && n >= last, isMissing };
}
