import { channel } from "node:diagnostics_channel";

/**
 * The channels that a metrics or tracing package can subscribe to, so that no route needs a hook of its own.
 *
 * - `express-event-source:open`: `{ request, response }`, when the head is written.
 * - `express-event-source:error`: `{ request, response, error }`, when the source, an item, a ping or the response
 *   failed; `{ channel, error }`, when a broker's producer failed; `{ error }`, when a `postgresBroker` cannot hear
 *   notifications.
 * - `express-event-source:close`: `{ request, response, summary }`, when a stream whose head was sent has ended.
 */
type Occasion = "open" | "error" | "close";

const channels = {
  open: channel("express-event-source:open"),
  error: channel("express-event-source:error"),
  close: channel("express-event-source:close"),
};

/**
 * Without a subscriber this costs one comparison.
 *
 * @returns whether anybody has subscribed
 */
export function announce(occasion: Occasion, message: object): boolean {
  if (!channels[occasion].hasSubscribers) return false;
  channels[occasion].publish(message);
  return true;
}
