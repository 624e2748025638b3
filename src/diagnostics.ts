import { channel } from "node:diagnostics_channel";

const channels = {
  open: channel("express-event-source:open"),
  error: channel("express-event-source:error"),
  close: channel("express-event-source:close"),
};

/**
 * What a metrics or tracing package listens to, so that no route needs a hook of its own.
 *
 * | channel | message |
 * |---|---|
 * | `express-event-source:open` | `{ request, response }`, when the head is sent |
 * | `express-event-source:error` | `{ request, response, error }`, when a source, item, ping or hook failed |
 * | `express-event-source:close` | `{ request, response, summary }`, when a stream whose head was sent has ended |
 *
 * Without a subscriber it costs one comparison.
 */
export function announce(name: keyof typeof channels, message: object): void {
  if (channels[name].hasSubscribers) channels[name].publish(message);
}
