/** Hosts that call an Express application without a socket of their own: finite streams work, and errors reach `next`. */
import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { test } from "node:test";
import { configure } from "@codegenie/serverless-express";
import express from "express";
import { inject } from "light-my-request";
import mocks from "node-mocks-http";
import serverless from "serverless-http";
import { eventSource } from "./scene.js";

function application() {
  const app = express();
  const summaries = [];
  app.get(
    "/numbers",
    eventSource(
      async function* () {
        for (let n = 1; n <= 3; n++) yield { id: n, data: { n } };
      },
      { onClose: ({ reason }) => summaries.push(reason) },
    ),
  );
  app.get(
    "/fails",
    eventSource(() => {
      throw Object.assign(new Error("secret"), { status: 503 });
    }),
  );
  app.get(
    "/fails-later",
    eventSource(
      async function* () {
        yield "first";
        throw new Error("secret");
      },
      { onError: () => ({ event: "failed", data: "" }) },
    ),
  );
  app.get(
    "/nothing",
    eventSource(() => null),
  );
  app.use((error, _req, res, _next) => {
    if (!res.headersSent) res.status(error.status ?? 500).send("the application's own words");
  });
  return { app, summaries };
}

const lambdaEvent = (path) => ({
  version: "2.0",
  routeKey: "$default",
  rawPath: path,
  rawQueryString: "",
  headers: { host: "localhost" },
  requestContext: { http: { method: "GET", path, sourceIp: "127.0.0.1", protocol: "HTTP/1.1" }, stage: "$default" },
  isBase64Encoded: false,
});
const text = ({ body, isBase64Encoded }) => (isBase64Encoded ? Buffer.from(body, "base64").toString() : body);

const hosts = {
  "serverless-http": (app) => {
    const handler = serverless(app);
    return async (path) => {
      const answer = await handler(lambdaEvent(path), {});
      return { status: answer.statusCode, body: text(answer) };
    };
  },
  "@codegenie/serverless-express": (app) => {
    const handler = configure({ app });
    return async (path) => {
      const answer = await handler(lambdaEvent(path), {}, () => {});
      return { status: answer.statusCode, body: text(answer) };
    };
  },
  "node-mocks-http": (app) => (path) =>
    new Promise((resolve) => {
      const { req, res } = mocks.createMocks({ method: "GET", url: path }, { eventEmitter: EventEmitter });
      res.on("end", () => resolve({ status: res.statusCode, body: res._getData() }));
      app(req, res);
    }),
  "light-my-request": (app) => async (path) => {
    const { statusCode, payload } = await inject(app, { method: "GET", url: path });
    return { status: statusCode, body: payload };
  },
};

for (const [name, host] of Object.entries(hosts)) {
  test(`${name}: a finite stream, failures, and nothing to stream`, { timeout: 20_000 }, async () => {
    const { app, summaries } = application();
    const get = host(app);
    const frames = 'id: 1\ndata: {"n":1}\n\nid: 2\ndata: {"n":2}\n\nid: 3\ndata: {"n":3}\n\n';
    assert.deepEqual(await get("/numbers"), { status: 200, body: frames });
    assert.deepEqual(summaries, ["completed"]);
    assert.deepEqual(await get("/fails"), { status: 503, body: "the application's own words" });
    assert.deepEqual(await get("/fails-later"), { status: 200, body: "data: first\n\nevent: failed\ndata: \n\n" });
    assert.equal((await get("/nothing")).status, 204);
  });
}
