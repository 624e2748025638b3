const assert = require("node:assert/strict");
const Sentry = require("@sentry/node");

const reported = [];
Sentry.init({
  dsn: "http://key@127.0.0.1:1/1",
  tracesSampleRate: 1,
  beforeSend(event) {
    reported.push(event.exception.values.map(({ value }) => value));
    return null;
  },
  beforeSendTransaction: () => null,
});

const express = require("express");
const { eventSource } = require("../../../dist/index.cjs");

async function main() {
  const app = express();
  app.get(
    "/before",
    eventSource(() => {
      throw new Error("before the head");
    }),
  );
  app.get(
    "/after",
    eventSource(async function* () {
      yield "first";
      throw new Error("after the head");
    }),
  );
  Sentry.setupExpressErrorHandler(app);
  app.use((_error, _req, res, next) => (res.headersSent ? next() : res.status(500).end()));
  const server = app.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  assert.equal((await fetch(`${url}/before`)).status, 500);
  await assert.rejects(async () => (await fetch(`${url}/after`)).text());
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await Sentry.close(1_000);
  assert.deepEqual(reported, [["before the head"], ["after the head"]]);
  console.log("as wanted");
  process.exit(0);
}

void main();
