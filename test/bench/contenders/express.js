import { createServer } from "node:http";
import express from "express";

export const HEAD = {
  "Content-Type": "text/event-stream; charset=utf-8",
  "Cache-Control": "no-store, no-transform",
  "X-Accel-Buffering": "no",
};

/** An Express application as `express()` makes it, with routes. */
export function expressServer(routes) {
  const app = express();
  for (const [path, handler] of Object.entries(routes)) app.get(path, handler);
  return createServer(app);
}
