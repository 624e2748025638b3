/**
 * What every contender sends: an object of its own for each event, 100 bytes as a frame of `data` alone.
 * The tilde is in each event once and nowhere else on the wire, so that a client counts events by it.
 */
export const MARK = "~";

export function eventData(n) {
  return {
    n: 100_000 + (n % 900_000),
    at: 1_700_000_000_000 + n,
    text: "as long as a line of a chat or of a log that I see~",
  };
}

/** The same as a hand-written handler would keep it: encoded once, before anybody asks. */
export const FRAME = `data: ${JSON.stringify(eventData(0))}\n\n`;

/** A source that is always ready. */
export async function* readyEvents(count) {
  for (let n = 0; n < count; n++) yield { data: eventData(n) };
}
