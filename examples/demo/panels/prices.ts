import { setInterval } from "node:timers/promises";
import { Router } from "express";
import { eventSource } from "express-event-source";
import type { PanelTools } from "../panel.js";

export function pricesPanel({ broker, run }: PanelTools): Router {
  run(async (signal) => {
    let prices = [100, 80, 60];
    for await (const _ of setInterval(250, undefined, { signal })) {
      prices = prices.map((price) => Math.max(5, price + (Math.random() - 0.5) * 4));
      await broker.publish("prices", {
        event: "prices",
        data: { time: Date.now(), prices: prices.map((price) => Number(price.toFixed(2))) },
      });
    }
  });

  // Published and encoded once, however many tabs look; a new tab begins with all that is still held.
  return Router().get(
    "/",
    eventSource((_req, stream) => broker.subscribe("prices", { ...stream, from: "start" }), { retry: 500 }),
  );
}
