import type { EventEmitter } from "node:events";
import { ServerResponse } from "node:http";
import { Socket } from "node:net";

/**
 * Returns a function that tells which events of `emitter` have gained listeners since, such as "ServerResponse drain".
 */
export function watchListeners(emitter: EventEmitter): () => string[] {
  const before = new Map(emitter.eventNames().map((name) => [name, emitter.listenerCount(name)]));
  // Node's own listeners. It waits for the rest of a body that nobody has read ("end"). To destroy a socket, it waits
  // until everything is written ("finish"). To destroy a pipelined response, it waits for a socket, which may never
  // come.
  const isNodes = (name: string | symbol): boolean =>
    name === "end" || (name === "finish" && emitter instanceof Socket) || (name === "socket" && isDestroyed(emitter));
  return () =>
    emitter
      .eventNames()
      .filter((name) => !isNodes(name) && emitter.listenerCount(name) > (before.get(name) ?? 0))
      .map((name) => `${emitter.constructor.name} ${String(name)}`);
}

function isDestroyed(emitter: EventEmitter): boolean {
  return emitter instanceof ServerResponse && emitter.destroyed;
}
