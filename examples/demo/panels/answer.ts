import { randomUUID } from "node:crypto";
import express, { type Request, type Response, Router } from "express";
import { eventSource, type PublishedEvent } from "express-event-source";
import type { PanelTools } from "../panel.js";
import { texts } from "../texts.js";

/** Ends where events are missing, so that a client to which nothing has been sent gets 204. */
async function* untilGap(events: AsyncIterable<PublishedEvent>) {
  for await (const event of events) {
    if (event.id === undefined) return;
    yield event;
  }
}

export function answerPanel({ postgres, writer }: PanelTools): Router {
  return (
    Router()
      // Another process writes the answer, whether anyone watches or not, and its channel ends with it.
      .post("/", express.json(), texts({ prompt: 200 }), async (req: Request, res: Response) => {
        const { broker } = await postgres();
        const name = randomUUID();
        const { prompt } = req.body;
        const asked = await broker.publish(`answer:${name}`, { event: "asked", data: prompt });
        const pid = await writer.write(`answer:${name}`, prompt);
        res.status(201).json({ id: `${name}.${asked}`, pid });
      })
      // From any tab: the model's signal aborts in its process, and everyone who watches has the end.
      .delete("/:id", async (req: Request<{ id: string }>, res: Response) => {
        const { broker } = await postgres();
        const [name] = req.params.id.split(".");
        res.json({ stopped: await broker.stop(`answer:${name}`) });
      })
      // SIGKILL: the process has no time to tell anybody.
      .post("/kill", async (_req, res) => {
        res.json({ pid: await writer.kill() });
      })
      // Any tab, any number of times: from its Last-Event-ID, else from the start; 204 when it has everything.
      .get(
        "/:id",
        eventSource<{ id: string }>(
          async (req, stream) => {
            const { broker } = await postgres();
            // An answer that is gone, or never was, has not its first event either, and the broker says so at once.
            const [name, ...asked] = req.params.id.split(".");
            const { lastEventId = asked.join(".") || "unknown" } = stream;
            const events = await broker.subscribe(`answer:${name}`, { ...stream, lastEventId });
            return stream.lastEventId === undefined ? untilGap(events) : events;
          },
          { retry: 500 },
        ),
      )
  );
}
