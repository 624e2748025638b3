import type { ServerSentEvent } from "../format/event.js";
import type { Broker } from "./broker.js";

/** `publishAll` of every broker: one event after the other, each when the one before is stored, then the end. */
export async function publishAll<E extends ServerSentEvent>(
  broker: Broker<E>,
  channel: string,
  source: AsyncIterable<E> | Iterable<E>,
): Promise<void> {
  for await (const event of source) await broker.publish(channel, event);
  await broker.end(channel);
}
