import { randomUUID } from "node:crypto";
import express, { type Request, type Response, Router } from "express";
import { eventSource } from "express-event-source";
import { complete } from "../model.js";
import type { PanelTools } from "../panel.js";
import { texts } from "../texts.js";

async function* tokens(prompt: string, signal: AbortSignal) {
  for await (const token of complete(prompt, signal)) yield { data: token };
}

export function answerPanel({ broker, run }: PanelTools): Router {
  return Router()
    // The answer is made whether anyone watches or not, and its channel ends with it.
    .post("/", express.json(), texts({ prompt: 200 }), (req: Request, res: Response) => {
      const id = randomUUID();
      run((signal) => broker.publishAll(`answer:${id}`, tokens(req.body.prompt, signal)));
      res.status(201).json({ id });
    })
    // Any tab, any number of times: from its Last-Event-ID, else from the start; 204 when it has everything.
    .get("/:id", eventSource<{ id: string }>(
      (req, stream) => broker.subscribe(`answer:${req.params.id}`, { ...stream, from: "start" }),
      { retry: 500 },
    ));
}
