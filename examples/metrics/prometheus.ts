// Metrics of every stream of the application, without a hook in any route.
//
//     curl -N http://localhost:3000/numbers
//     curl http://localhost:3000/metrics
import { subscribe } from "node:diagnostics_channel";
import type { AddressInfo } from "node:net";
import express, { type Request } from "express";
import { eventSource, type StreamSummary } from "express-event-source";
import { Counter, Gauge, Histogram, register } from "prom-client";

const open = new Gauge({ name: "sse_streams_open", help: "Streams that are open", labelNames: ["route"] });
const errors = new Counter({
  name: "sse_stream_errors_total",
  help: "Streams and producers that failed",
  labelNames: ["route"],
});
const events = new Counter({ name: "sse_events_total", help: "Events sent", labelNames: ["route"] });
const bytes = new Counter({ name: "sse_bytes_total", help: "Bytes written", labelNames: ["route"] });
const duration = new Histogram({
  name: "sse_stream_seconds",
  help: "How long streams last",
  labelNames: ["route", "reason"],
  buckets: [1, 10, 60, 600, 3600],
});

const routeOf = (request: Request) => ({ route: request.baseUrl + String(request.route?.path ?? "") });

subscribe("express-event-source:open", (message) => {
  open.inc(routeOf((message as { request: Request }).request));
});
subscribe("express-event-source:error", (message) => {
  // A broker's producer that failed has a channel, and no request.
  const { request } = message as { request?: Request };
  errors.inc(request === undefined ? { route: "producer" } : routeOf(request));
});
subscribe("express-event-source:close", (message) => {
  const { request, summary } = message as { request: Request; summary: StreamSummary };
  const route = routeOf(request);
  open.dec(route);
  events.inc(route, summary.events);
  bytes.inc(route, summary.bytes);
  duration.observe({ ...route, reason: summary.reason }, summary.duration / 1_000);
});

const app = express();

app.get(
  "/numbers",
  eventSource(() => [1, 2, 3]),
);

app.get("/metrics", async (_req, res) => {
  res.type(register.contentType).send(await register.metrics());
});

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/metrics", (server.address() as AddressInfo).port);
});
