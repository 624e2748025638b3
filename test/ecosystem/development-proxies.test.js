/** Proxies of development servers: what passes through them, and what they hide. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import express from "express";
import { createProxyMiddleware } from "http-proxy-middleware";
import { createProxyMiddleware as createProxyMiddleware3 } from "http-proxy-middleware3";
import { createServer as createVite } from "vite";
import webpack from "webpack";
import WebpackDevServer from "webpack-dev-server";
import WebpackDevServer5 from "webpack-dev-server5";
import { eventSource, gate, listen, reader, routes } from "./scene.js";

const inExpress = (createProxy) => async (target) => {
  const { server } = await listen(express().use(createProxy({ target })));
  const close = async () => server.close().closeAllConnections();
  return { server, close };
};

const inWebpack = (DevServer) => async (target) => {
  const compiler = webpack({ mode: "development", entry: {}, infrastructureLogging: { level: "none" } });
  const proxy = [{ context: ["/"], target }];
  const dev = new DevServer({ port: 0, host: "127.0.0.1", hot: false, client: false, proxy }, compiler);
  await dev.start();
  return { server: dev.server, close: () => dev.stop() };
};

async function inVite(target) {
  const vite = await createVite({
    configFile: false,
    logLevel: "silent",
    server: { port: 0, host: "127.0.0.1", proxy: { "/": target } },
  });
  await vite.listen();
  return { server: vite.httpServer, close: () => vite.close() };
}

/**
 * Each starts in front of a target, and returns its own server. `tellsOfCut` says whether the page hears of a stream that
 * the server has cut, `tellsOfLeaving` whether the server hears of a page that leaves.
 */
const proxies = {
  "http-proxy-middleware 4": { tellsOfCut: true, tellsOfLeaving: true, start: inExpress(createProxyMiddleware) },
  "http-proxy-middleware 3": { tellsOfCut: false, tellsOfLeaving: true, start: inExpress(createProxyMiddleware3) },
  vite: { tellsOfCut: false, tellsOfLeaving: true, start: inVite },
  "webpack-dev-server 6": { tellsOfCut: true, tellsOfLeaving: true, start: inWebpack(WebpackDevServer) },
  "webpack-dev-server 5": { tellsOfCut: false, tellsOfLeaving: false, start: inWebpack(WebpackDevServer5) },
};

for (const [name, { start, tellsOfCut, tellsOfLeaving }] of Object.entries(proxies)) {
  describe(name, { timeout: 60_000 }, () => {
    const app = express();
    const cut = gate();
    const closed = gate();
    app.get(
      "/cut",
      eventSource(
        async function* () {
          yield "first";
          await cut.opened;
          throw new Error("secret");
        },
        { onClose: () => closed.open() },
      ),
    );
    app.get("/ping", (_req, res) => res.send("pong"));
    const heard = routes(app, express.json());
    let application, proxy, url;

    before(async () => {
      application = await listen(app);
      proxy = await start(application.url);
      url = `http://127.0.0.1:${proxy.server.address().port}`;
    });
    after(async () => {
      await proxy.close();
      application.server.close();
      application.server.closeAllConnections();
    });

    /** Resolves when what has happened before has had the time to come through the proxy. */
    async function roundTrip() {
      assert.equal(await (await fetch(`${url}/ping`)).text(), "pong");
      await turn();
    }

    test("each event passes as it comes, and the end too", async () => {
      const response = await fetch(`${url}/steps`, { headers: { "Accept-Encoding": "gzip" } });
      assert.equal(response.headers.get("content-encoding"), null);
      const body = reader(response);
      await body.until('{"n":1}');
      heard.next.second.open();
      await body.until('{"n":2}');
      heard.next.third.open();
      assert.match(await body.rest(), /id: 3\nevent: step\ndata: {"n":3}\n\n$/);
    });

    test(`a stream that the server has cut ${tellsOfCut ? "fails" : "looks open"}`, async () => {
      const body = reader(await fetch(`${url}/cut`));
      await body.until("first");
      const rest = body.rest().then(
        () => "ended",
        () => "failed",
      );
      cut.open();
      await closed.opened;
      if (tellsOfCut) return assert.equal(await rest, "failed");
      await roundTrip();
      assert.equal(await Promise.race([rest, "open"]), "open");
      await body.cancel();
    });

    test(`a client that leaves ${tellsOfLeaving ? "ends the source" : "looks connected"}`, async () => {
      const requested = once(proxy.server, "request");
      const leave = new AbortController();
      const body = reader(await fetch(`${url}/endless`, { signal: leave.signal }));
      await body.until("first");
      const [{ socket }] = await requested;
      const left = once(socket, "close");
      leave.abort();
      await left;
      if (tellsOfLeaving) return heard.released.opened;
      await roundTrip();
      assert.equal(await Promise.race([heard.released.opened.then(() => "released"), "connected"]), "connected");
    });
  });
}
