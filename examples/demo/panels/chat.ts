import express, { type Request, type Response, Router } from "express";
import { eventSource } from "express-event-source";
import type { PanelTools } from "../panel.js";
import { texts } from "../texts.js";

const rooms = new Set(["lobby", "kitchen", "garden"]);

export function chatPanel({ broker }: PanelTools): Router {
  return Router()
    .param("room", (_req, res, next, room) => void (rooms.has(room) ? next() : res.sendStatus(404)))
    .get(
      "/:room",
      eventSource<{ room: string }>(
        (req, stream) => broker.subscribe(`chat:${req.params.room}`, { ...stream, from: "start" }),
        { retry: 500 },
      ),
    )
    .post(
      "/:room",
      express.json(),
      texts({ name: 30, text: 500 }),
      async (req: Request<{ room: string }>, res: Response) => {
        const { name, text } = req.body;
        // Whatever the text holds, line breaks too, it stays inside this event's data.
        await broker.publish(`chat:${req.params.room}`, { event: "said", data: { name, text } });
        res.sendStatus(204);
      },
    );
}
