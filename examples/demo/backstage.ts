import type { RequestHandler, Response } from "express";
import { Router } from "express";
import { eventSource, memoryBroker, type ServerSentEvent } from "express-event-source";

/**
 * What lets the page look behind the scene: the server's log, the bytes of each response, and a way to
 * cut a connection. It is itself an event stream, one for all tabs of a browser.
 *
 * A request with `?wire=<key>` is watched, under that key.
 */
export class Backstage {
  readonly #broker = memoryBroker({ history: { maxEvents: 2_000, maxAge: 10_000 } });
  readonly #watched = new Map<string, Response>();
  readonly #print: (line: string) => void;

  constructor(print: (line: string) => void) {
    this.#print = print;
  }

  log(line: string): void {
    this.#print(line);
    this.#tell({ event: "log", data: { line, time: Date.now() } });
  }

  close(): Promise<void> {
    return this.#broker.close();
  }

  readonly router: Router = Router()
    .get(
      "/",
      eventSource((_req, stream) => this.#broker.subscribe("backstage", stream), { retry: 300 }),
    )
    .delete("/connections/:key", (req, res) => {
      const watched = this.#watched.get(req.params.key);
      watched?.socket?.destroy();
      res.sendStatus(watched === undefined ? 404 : 204);
    });

  /** Shows what goes over the wire, without touching it. */
  readonly watch: RequestHandler = (req, res, next) => {
    const key = req.query.wire;
    if (typeof key !== "string") {
      next();
      return;
    }
    const tell = (kind: string, text: string) => this.#tell({ event: "wire", data: { key, kind, text } });
    const lastEventId = req.get("Last-Event-ID");
    tell(
      "request",
      `${req.method} ${req.baseUrl}${req.path}${lastEventId === undefined ? "" : `\nLast-Event-ID: ${lastEventId}`}`,
    );

    const write = res.write.bind(res) as (...args: unknown[]) => boolean;
    const writeHead = res.writeHead.bind(res) as (...args: unknown[]) => Response;
    res.writeHead = (...args: unknown[]) => {
      writeHead(...args);
      tell("head", `${res.statusCode} ${res.statusMessage}`);
      return res;
    };
    res.write = (...args: unknown[]) => {
      const hasRoom = write(...args);
      tell("frames", shorten(String(args[0])));
      return hasRoom;
    };

    this.#watched.set(key, res);
    res.on("close", () => {
      if (this.#watched.get(key) === res) this.#watched.delete(key);
      tell("end", res.writableFinished ? "end of the response" : "connection cut");
    });
    next();
  };

  #tell(event: Omit<ServerSentEvent, "id">): void {
    // Nobody looks behind the scene of a server that is closing.
    this.#broker.publish("backstage", event).catch(() => {});
  }
}

function shorten(text: string): string {
  return text.length > 2_000 ? `${text.slice(0, 60)}… (${text.length} characters)\n\n` : text;
}
