// Live prices: one publisher, any number of clients, each with the symbols it asks for. Who loses the connection
// gets what it missed.
//
//     curl -N http://localhost:3000/prices/ACME,GLOBEX
//     curl -N http://localhost:3000/prices/ACME,GLOBEX -H "Last-Event-ID: <an id that you saw>"
import type { AddressInfo } from "node:net";
import express from "express";
import { eventSource, memoryBroker } from "express-event-source";

interface Price {
  event: "price";
  data: { symbol: string; euros: number };
}

const broker = memoryBroker<Price>();
const app = express();

app.get(
  "/prices/:symbols",
  eventSource<{ symbols: string }>((req, stream) => broker.subscribe(req.params.symbols.split(","), stream)),
);

const prices = new Map([
  ["ACME", 100],
  ["GLOBEX", 50],
  ["HOOLI", 200],
]);
setInterval(() => {
  for (const [symbol, last] of prices) {
    const euros = Math.round((last + Math.random() - 0.5) * 100) / 100;
    prices.set(symbol, euros);
    broker.publish(symbol, { event: "price", data: { symbol, euros } }).catch(console.error);
  }
}, 200);

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/prices/ACME,GLOBEX", (server.address() as AddressInfo).port);
});
