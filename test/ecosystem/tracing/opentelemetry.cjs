const assert = require("node:assert/strict");
const { NodeTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } = require("@opentelemetry/sdk-trace-node");
const { registerInstrumentations } = require("@opentelemetry/instrumentation");
const { HttpInstrumentation } = require("@opentelemetry/instrumentation-http");
const { ExpressInstrumentation } = require("@opentelemetry/instrumentation-express");
const { trace } = require("@opentelemetry/api");

const exporter = new InMemorySpanExporter();
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
provider.register();
registerInstrumentations({ instrumentations: [new HttpInstrumentation(), new ExpressInstrumentation()] });

const http = require("node:http");
const express = require("express");
const { eventSource } = require("../../../dist/index.cjs");

async function main() {
  const app = express();
  const traces = new Set();
  const see = () => traces.add(trace.getActiveSpan()?.spanContext().traceId);
  app.get(
    "/",
    eventSource(
      async function* () {
        for (let n = 0; n < 3; n++) {
          see();
          yield n;
          await new Promise(setImmediate);
        }
      },
      { onClose: see },
    ),
  );
  const server = app.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const response = await fetch(`http://127.0.0.1:${server.address().port}`);
  assert.equal(await response.text(), "data: 0\n\ndata: 1\n\ndata: 2\n\n");
  await new Promise((resolve) => server.close(resolve));
  const spans = exporter.getFinishedSpans().filter(({ kind }) => kind === 1);
  assert.equal(spans.length, 1);
  // Source and hooks run in the context of their own request.
  assert.deepEqual([...traces], [spans[0].spanContext().traceId]);
  await provider.shutdown();
  console.log("as wanted");
}

void http;
void main();
