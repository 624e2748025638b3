import { EventStreamError, show } from "../errors.js";
import type { ServerSentEvent } from "../format/event.js";
import { isTurnSpent, nextTurn } from "../runtime/turn.js";
import { isReadable } from "../source/readers.js";
import type { Broker } from "./broker.js";
import { checkChannel } from "./checks.js";

/** `publish` for events of unknown type, which it checks at run time. */
interface Publisher {
  publish(channel: string, event: unknown): Promise<string>;
}

/**
 * Implements `publishAll` for every broker: publishes each event once the previous one is stored, then ends the
 * channel.
 */
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
