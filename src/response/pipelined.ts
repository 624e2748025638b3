import { AsyncResource } from "node:async_hooks";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import { forEachInTurn } from "../runtime/turn.js";

/** `_httpMessage` is the response that the connection carries at present. */
type ServedSocket = Socket & { readonly _httpMessage?: ServerResponse | null };

/**
 * Calls `begin` at once, unless the request is pipelined. A pipelined request waits until the connection has come to
 * its response or the client has left: until then it cannot send a byte, and one connection can bring thousands of such
 * requests. If something else, such as a timeout middleware, has ended the response by then, `skip` is called instead.
 */
export function whenItsTurnComes(req: IncomingMessage, res: ServerResponse, begin: () => void, skip: () => void): void {
  if (res.headersSent || !isPipelined(req, res)) return begin();
  let queue = queues.get(req.socket);
  if (queue === undefined) queues.set(req.socket, (queue = new Queue(req.socket)));
  queue.add(new PipelinedRequest(res, () => (res.writableEnded ? skip() : begin())));
}

/**
 * Whether the connection still carries the response to an earlier request, or has carried its last response. The latter
 * happens after `Connection: close`: the connection is about to close, and no later response reaches the client.
 */
function isPipelined(req: IncomingMessage, res: ServerResponse): boolean {
  if (res.socket !== null || !(req.socket instanceof Socket) || req.socket.destroyed) return false;
  const { _httpMessage } = req.socket as ServedSocket;
  return _httpMessage !== undefined && _httpMessage !== res;
}

const queues = new WeakMap<Socket, Queue>();

/** An AsyncResource, because `begin` is called in the async context of the request before it. */
class PipelinedRequest extends AsyncResource {
  readonly res: ServerResponse;
  readonly #begin: () => void;

  constructor(res: ServerResponse, begin: () => void) {
    super("PipelinedRequest");
    this.res = res;
    this.#begin = begin;
  }

  begin(): void {
    this.runInAsyncScope(this.#begin);
  }
}

/** The waiting requests of one connection. They share one listener on its socket. */
class Queue {
  readonly #socket: Socket;
  readonly #requests = new Map<ServerResponse, PipelinedRequest>();

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  add(request: PipelinedRequest): void {
    this.#requests.set(request.res, request);
    request.res.on("socket", this.#onSocket);
    if (this.#requests.size === 1) this.#socket.on("close", this.#onClose);
  }

  readonly #onSocket = (): void => {
    const res = (this.#socket as ServedSocket)._httpMessage as ServerResponse;
    const request = this.#requests.get(res);
    res.off("socket", this.#onSocket);
    this.#requests.delete(res);
    if (this.#requests.size === 0) this.#socket.off("close", this.#onClose);
    // Node is about to send what the response holds already; the stream begins after that.
    if (request !== undefined) process.nextTick(() => request.begin());
  };

  readonly #onClose = (): void => {
    const requests = [...this.#requests.values()];
    this.#requests.clear();
    this.#socket.off("close", this.#onClose);
    // Thousands of requests that all end in one turn would block the loop for half a second.
    forEachInTurn(requests, (request) => {
      request.res.off("socket", this.#onSocket);
      request.begin();
    });
  };
}
