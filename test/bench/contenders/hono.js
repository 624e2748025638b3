import { createAdaptorServer } from "@hono/node-server";
import { Hono } from "hono";
import { streamSSE } from "hono/streaming";
import { asked, makers, readyItems } from "../event.js";

/** It has neither pings nor a broadcast: both are written as its documentation has them, with `writeSSE`. */
export function contender({ pingInterval }) {
  const app = new Hono();
  const room = new Set();

  const held = (stream) =>
    new Promise((resolve) => {
      const pings = setInterval(() => void stream.write(": ping\n\n"), pingInterval);
      room.add(stream);
      stream.onAbort(() => {
        clearInterval(pings);
        room.delete(stream);
        resolve();
      });
    });

  app.get("/ready", (c) =>
    streamSSE(c, async (stream) => {
      for await (const item of readyItems(...asked(c.req.query()))) await stream.writeSSE(messageOf(item));
    }),
  );
  app.get("/hello", (c) =>
    streamSSE(c, async (stream) => {
      await stream.writeSSE(messageOf(makers.event(0)));
      await held(stream);
    }),
  );
  app.get("/room", (c) => streamSSE(c, held));

  return {
    server: createAdaptorServer(app),
    publish(n) {
      const message = messageOf(makers.event(n));
      for (const stream of room) void stream.writeSSE(message);
    },
  };
}

/** Its data is text. */
function messageOf(item) {
  return typeof item === "string" ? { data: item } : { ...item, data: JSON.stringify(item.data) };
}
