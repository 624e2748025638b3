// A generator between broker and client: it leaves events out, or rewrites them, for one client alone.
//
//     curl -N "http://localhost:3000/orders?above=500"
import type { AddressInfo } from "node:net";
import express from "express";
import { eventSource, memoryBroker, type PublishedEvent } from "express-event-source";

interface Order {
  event: "order";
  data: { euros: number; customer: string };
}

const broker = memoryBroker<Order>();
const app = express();

async function* above(limit: number, orders: AsyncIterable<PublishedEvent<Order>>) {
  for await (const order of orders) {
    // The broker says that events are missing here: the client must know.
    if (order.event === "gap") yield order;
    // A published event belongs to all its subscribers: rewrite a copy, which keeps the id.
    else if (order.data.euros > limit) yield { ...order, data: { ...order.data, customer: "(hidden)" } };
  }
}

app.get(
  "/orders",
  eventSource(async (req, stream) => above(Number(req.query.above ?? 0), await broker.subscribe("orders", stream))),
);

setInterval(() => {
  const order = { event: "order" as const, data: { euros: Math.round(Math.random() * 1_000), customer: "Anna" } };
  broker.publish("orders", order).catch(console.error);
}, 20);

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/orders?above=500", (server.address() as AddressInfo).port);
});
