import { EventStreamError, show } from "../errors.js";
import type { ServerSentEvent } from "../format/event.js";
import { isTurnSpent, nextTurn } from "../runtime/turn.js";
import { isReadable } from "../source/readers.js";
import type { Broker } from "./broker.js";
import { checkChannel } from "./checks.js";

/** `publish` for a type that is not known yet: what the events are is seen at run time. */
interface Publisher {
  publish(channel: string, event: unknown): Promise<string>;
}

/** `publishAll` of every broker: one event after the other, each when the one before is stored, then the end. */
export async function publishAll<E extends ServerSentEvent>(
  broker: Broker<E>,
  channel: string,
  source: unknown,
): Promise<void> {
  checkChannel(channel);
  if (!isReadable(source)) {
    throw new EventStreamError(
      "ERR_INVALID_SOURCE",
      `The source is ${show(source)}; publishAll needs an iterable or an async iterable of events ` +
        "(call a generator function, await a promise).",
    );
  }
  for await (const event of source as AsyncIterable<unknown> | Iterable<unknown>) {
    await (broker as Publisher).publish(channel, event);
    // A store that answers in microtasks, such as memory, never yields to the event loop by itself.
    if (isTurnSpent()) await nextTurn();
  }
  await broker.end(channel);
}
