import type { ServerSentEvent } from "../format/event.js";
import type { Broker } from "./broker.js";

/** `publish` for a type that is not known yet: what the events are is seen at run time. */
interface Publisher<E> {
  publish(channel: string, event: E): Promise<string>;
}

/** `publishAll` of every broker: one event after the other, each when the one before is stored, then the end. */
export async function publishAll<E extends ServerSentEvent>(
  broker: Broker<E>,
  channel: string,
  source: AsyncIterable<E> | Iterable<E>,
): Promise<void> {
  for await (const event of source) await (broker as Publisher<E>).publish(channel, event);
  await broker.end(channel);
}
