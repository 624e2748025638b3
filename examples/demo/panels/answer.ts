import { randomUUID } from "node:crypto";
import express, { type Request, type Response, Router } from "express";
import { eventSource, type PublishedEvent } from "express-event-source";
import { complete } from "../model.js";
import type { PanelTools } from "../panel.js";
import { texts } from "../texts.js";

async function* tokens(prompt: string, signal: AbortSignal) {
  for await (const token of complete(prompt, signal)) yield { data: token };
}

/** Ends where events are missing, so that a client to which nothing has been sent gets 204. */
async function* untilGap(events: AsyncIterable<PublishedEvent>) {
  for await (const event of events) {
    if (event.id === undefined) return;
    yield event;
  }
}

export function answerPanel({ broker, log }: PanelTools): Router {
  return (
    Router()
      // The answer is made whether anyone watches or not, and its channel ends with it.
      .post("/", express.json(), texts({ prompt: 200 }), async (req: Request, res: Response) => {
        const name = randomUUID();
        const { prompt } = req.body;
        const asked = await broker.publish(`answer:${name}`, { event: "asked", data: prompt });
        const run = await broker.produce(`answer:${name}`, ({ signal }) => tokens(prompt, signal));
        run?.done.then(
          (outcome) => log(`answer: ${outcome}`),
          (error) => log(`answer: ${String(error)}`),
        );
        res.status(201).json({ id: `${name}.${asked}` });
      })
      // From any tab: the model's signal aborts, and everyone who watches has the end.
      .delete("/:id", async (req: Request<{ id: string }>, res: Response) => {
        const [name] = req.params.id.split(".");
        res.json({ stopped: await broker.stop(`answer:${name}`) });
      })
      // Any tab, any number of times: from its Last-Event-ID, else from the start; 204 when it has everything.
      .get(
        "/:id",
        eventSource<{ id: string }>(
          async (req, stream) => {
            // An answer that is gone, or never was, has not its first event either, and the broker says so at once.
            const [name, asked] = req.params.id.split(".");
            const { lastEventId = asked || "unknown" } = stream;
            const events = await broker.subscribe(`answer:${name}`, { ...stream, lastEventId });
            return stream.lastEventId === undefined ? untilGap(events) : events;
          },
          { retry: 500 },
        ),
      )
  );
}
