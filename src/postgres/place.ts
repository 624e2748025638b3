import { createHash } from "node:crypto";

/**
 * A place in a channel: after event `n` of a `run` (the channel's random id and the era in which the event was read).
 * If the channel did not exist, the place is `asOf`: the last time at which it is known not to have existed, in
 * milliseconds of the server's clock.
 */
export type Place = { readonly run: string; readonly n: number } | { readonly asOf: number };

/**
 * A place as text, which is also an event's id: `5f1c09a2b7d3e4.1-42`, or `*mb2k1x9c` where the channel did not
 * exist.
 */
export function formatPlace(place: Place): string {
  return "run" in place ? `${place.run}-${place.n}` : `*${place.asOf.toString(36)}`;
}

function parsePlace(text: string): Place | undefined {
  const [, run, n, asOf] =
    /^(?:([1-9a-f][0-9a-f]{0,13}\.(?:0|[1-9]\d{0,9}))-(0|[1-9]\d{0,14})|\*([0-9a-z]{1,10}))$/.exec(text) ?? [];
  if (run !== undefined) return { run, n: Number(n) };
  return asOf === undefined ? undefined : { asOf: Number.parseInt(asOf, 36) };
}

const tagLength = 6;

/** The tag of a channel in a composite id. It is short, because a client sends that id with every reconnection. */
function tagOf(channel: string): string {
  return createHash("sha256").update(channel).digest("base64url").slice(0, tagLength);
}

/**
 * The id of an event of a subscription to several channels: for each of them a tag of its name, and the place in it.
 */
export function composeId(places: Iterable<readonly [channel: string, place: Place]>): string {
  return Array.from(places, ([channel, place]) => tagOf(channel) + formatPlace(place)).join("~");
}

/** The places in channels that a last event ID contains. */
export function placesIn(id: string, channels: readonly string[]): Map<string, Place> {
  const found = new Map<string, Place>();
  const [only] = channels;
  const single = parsePlace(id);
  if (single !== undefined) {
    // If the id is from another channel, its run will not match this channel's.
    return channels.length === 1 && only !== undefined ? found.set(only, single) : found;
  }
  // A client may send an id as long as a header can be, so only so many parts are read.
  const parts = new Map(id.split("~", 4096).map((part) => [part.slice(0, tagLength), part.slice(tagLength)]));
  for (const channel of channels) {
    const place = parsePlace(parts.get(tagOf(channel)) ?? "");
    if (place !== undefined) found.set(channel, place);
  }
  return found;
}
