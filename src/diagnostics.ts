import { type Channel, channel } from "node:diagnostics_channel";

/**
 * What a metrics or tracing package listens to, so that no route needs a hook of its own.
 *
 * | channel | message |
 * |---|---|
 * | `express-event-source:open` | `{ request, response }`, when the head is sent |
 * | `express-event-source:error` | `{ request, response, error }`, when a source, item, ping or hook failed |
 * | `express-event-source:close` | `{ request, response, summary }`, when a stream whose head was sent has ended |
 *
 * Without a subscriber a channel costs one comparison.
 */
export const diagnostics: { readonly open: Channel; readonly error: Channel; readonly close: Channel } = {
  open: channel("express-event-source:open"),
  error: channel("express-event-source:error"),
  close: channel("express-event-source:close"),
};
