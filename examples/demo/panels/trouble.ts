import { get } from "node:http";
import { setInterval } from "node:timers/promises";
import { type Request, Router } from "express";
import { eventSource } from "express-event-source";
import type { PanelTools } from "../panel.js";

/** Always ready to send more: what stops it is the client's full connection. */
function* flood() {
  for (;;) yield { event: "drop", data: "~".repeat(65_536) };
}

/**
 * Asks for the flood and reads nothing of it. The page cannot do this: Firefox reads ahead of a page that does not read, and
 * would take hundreds of megabytes a second.
 */
function stall({ socket, baseUrl }: Request): void {
  const { localAddress, localPort } = socket;
  const request = get({ host: localAddress, port: localPort, path: `${baseUrl}/flood` });
  // The server cuts it in the end.
  request.on("response", (response) => response.on("error", () => {})).on("error", () => {});
}

export function troublePanel({ broker, log, run, restart }: PanelTools): Router {
  run(async (signal) => {
    let n = 0;
    for await (const _ of setInterval(500, undefined, { signal })) await broker.publish("ticks", { data: { n: ++n } });
  });

  return Router()
    .get(
      "/",
      eventSource((_req, stream) => broker.subscribe("ticks", stream), { retry: 500 }),
    )
    .get(
      "/flood",
      eventSource(() => flood(), {
        sendTimeout: 1_500,
        onClose: ({ reason, bytes }) =>
          log(`trouble: the flood ended, reason "${reason}", after ${Math.round(bytes / 1024)} kB`),
      }),
    )
    .post("/stall", (req, res) => {
      stall(req);
      res.sendStatus(202);
    })
    .post("/restart", (_req, res) => {
      res.on("close", restart).sendStatus(202);
    });
}
