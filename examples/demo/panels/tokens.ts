import express, { type Request, Router } from "express";
import { eventSource } from "express-event-source";
import { complete } from "../model.js";
import type { PanelTools } from "../panel.js";
import { texts } from "../texts.js";

export function tokensPanel({ log }: PanelTools): Router {
  async function* generate(prompt: string, signal: AbortSignal) {
    let made = 0;
    log("tokens: the generator starts");
    try {
      for await (const token of complete(prompt, signal)) {
        made += 1;
        yield { data: token };
      }
      yield { event: "done", data: { tokens: made } };
    } finally {
      // The signal aborts when the reader leaves: the model stops, and nobody pays for the rest.
      log(`tokens: the generator ${signal.aborted ? "was stopped" : "finished"} after ${made} tokens`);
    }
  }

  return Router().post(
    "/",
    express.json(),
    texts({ prompt: 200 }),
    eventSource((req: Request, { signal }) => generate(req.body.prompt, signal)),
  );
}
