/** Each middleware in front of streams: events arrive one by one, and the middleware does its work. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { Writable } from "node:stream";
import { test } from "node:test";
import compression from "compression";
import cors from "cors";
import express from "express";
import express4 from "express4";
import interceptor from "express-interceptor";
import rateLimit from "express-rate-limit";
import requestsLogger from "express-requests-logger";
import session from "express-session";
import expressWinston from "express-winston";
import helmet from "helmet";
import moesif from "moesif-nodejs";
import morgan from "morgan";
import pinoHttp from "pino-http";
import readmeConfig from "readmeio/dist/src/config/index.js";
import readme from "readmeio";
import winston from "winston";
import { gate, listen, reader, routes } from "./scene.js";

/** A stream that keeps the lines it is given. */
function lines() {
  const written = [];
  const arrived = gate();
  const stream = new Writable({
    write(chunk, _encoding, done) {
      written.push(String(chunk));
      arrived.open();
      done();
    },
  });
  return { stream, written, arrived: arrived.opened };
}

/** A server that takes whatever a service's client sends to it. */
async function sink() {
  const server = createServer((req, res) => req.resume().on("end", () => res.writeHead(201).end("{}")));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => server.close().closeAllConnections(),
  };
}

/** Each returns what to `use`, and what the middleware must have done once a client has left an endless stream. */
const middlewares = {
  none: () => ({ use: [] }),
  helmet: () => ({ use: [helmet()] }),
  cors: () => ({
    use: [cors()],
    headers: ({ headers }) => assert.equal(headers.get("access-control-allow-origin"), "*"),
  }),
  compression: () => ({ use: [compression()] }),
  "compression, opted in by Cache-Control": () => ({
    use: [
      compression(),
      (_req, res, next) => {
        const { setHeader } = res;
        res.setHeader = function (name, value) {
          return setHeader.call(this, name, name === "Cache-Control" ? "no-store" : value);
        };
        next();
      },
    ],
    headers: ({ headers }) => assert.match(headers.get("content-encoding"), /br|gzip|deflate/),
  }),
  "express-rate-limit": () => ({ use: [rateLimit({ windowMs: 60_000, limit: 100, validate: false })] }),
  "express-session": () => {
    const store = new session.MemoryStore();
    const saved = gate();
    const { set } = store;
    store.set = function (id, data, done) {
      set.call(this, id, data, (error) => {
        if (data.seen === "/endless") saved.open();
        done?.(error);
      });
    };
    return {
      use: [
        session({ secret: "test", resave: false, saveUninitialized: false, store }),
        (req, _res, next) => {
          req.session.seen = req.path;
          next();
        },
      ],
      afterTheClientLeft: () => saved.opened,
    };
  },
  morgan: () => {
    const log = lines();
    return {
      use: [morgan("tiny", { stream: log.stream })],
      afterTheClientLeft: () => log.arrived,
    };
  },
  "pino-http": () => {
    const log = lines();
    return { use: [pinoHttp({}, log.stream)], afterTheClientLeft: () => log.arrived };
  },
  "express-winston": () => {
    const log = lines();
    const transports = [new winston.transports.Stream({ stream: log.stream })];
    return { use: [expressWinston.logger({ transports })], afterTheClientLeft: () => log.arrived };
  },
  "express-requests-logger": () => ({ use: [requestsLogger({ logger: { info() {}, warn() {}, error() {} } })] }),
  "express-interceptor": () => ({
    use: [interceptor(() => ({ isInterceptable: () => false, intercept: (body, send) => send(body) }))],
  }),
  "a logging snippet whose write returns nothing": () => ({
    use: [
      (_req, res, next) => {
        const { write } = res;
        res.write = function (...args) {
          write.apply(this, args);
        };
        next();
      },
    ],
  }),
  "moesif-nodejs": async () => {
    const { url: baseUri, close } = await sink();
    return {
      use: [moesif({ applicationId: "x".repeat(64), baseUri, callback: () => {}, disableBatching: true })],
      close,
    };
  },
  readmeio: async () => {
    const { url, close } = await sink();
    readmeConfig.host = url;
    const group = { apiKey: "key", label: "a stranger", email: "stranger@example.com" };
    return {
      use: [
        (req, res, next) => {
          readme.log("key", req, res, group, { baseLogUrl: "https://docs.example.com", bufferLength: 1 });
          next();
        },
      ],
      headers: ({ headers }) =>
        assert.match(headers.get("x-documentation-url"), /^https:\/\/docs\.example\.com\/logs\//),
      close,
    };
  },
};

for (const [framework, make, json] of [
  ["Express 5", express, express.json()],
  ["Express 4", express4, express4.json()],
]) {
  for (const [name, install] of Object.entries(middlewares)) {
    test(`${framework} with ${name}`, { timeout: 20_000 }, async (t) => {
      const { use, headers, afterTheClientLeft, close } = await install();
      const app = make();
      for (const middleware of use) app.use(middleware);
      const heard = routes(app, json);
      const { server, url } = await listen(app);
      t.after(() => {
        server.closeAllConnections();
        server.close();
        return close?.();
      });

      const steps = await fetch(`${url}/steps`);
      assert.equal(steps.status, 200);
      assert.match(steps.headers.get("content-type"), /^text\/event-stream/);
      headers?.(steps);
      const body = reader(steps);
      // Each event must reach the client before the next one is made.
      await body.until('id: 1\nevent: step\ndata: {"n":1}\n\n');
      heard.next.second.open();
      await body.until('id: 2\nevent: step\ndata: {"n":2}\n\n');
      heard.next.third.open();
      assert.equal((await body.rest()).match(/^data: /gm).length, 3);

      const echo = await fetch(`${url}/echo`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ words: ["a", "b"] }),
      });
      assert.equal(await echo.text(), "data: a\n\ndata: b\n\n");

      const failure = await fetch(`${url}/fails`);
      assert.equal(failure.status, 503);
      assert.equal(await failure.text(), "the application's own words");
      assert.equal((await fetch(`${url}/nothing`)).status, 204);

      const endless = reader(await fetch(`${url}/endless`));
      await endless.until("data: first\n\n");
      await endless.cancel();
      await heard.released.opened;
      await afterTheClientLeft?.();

      const last = reader(await fetch(`${url}/endless`));
      await last.until("data: first\n\n");
      const closed = once(server, "close");
      server.close();
      await last.rest();
      await closed;
      assert.deepEqual(
        heard.summaries.map(({ reason }) => reason),
        ["completed", "disconnected", "shutdown"],
      );
    });
  }
}
