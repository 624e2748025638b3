/** Proxies of development servers: what passes through them, and what they hide. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import express from "express";
import { createProxyMiddleware } from "http-proxy-middleware";
import { createServer as createVite } from "vite";
import webpack from "webpack";
import WebpackDevServer from "webpack-dev-server";
import { eventSource, gate, listen, reader, routes } from "./scene.js";

/** Each starts in front of `target`, and returns its own server. */
const proxies = {
  "http-proxy-middleware": {
    tellsOfLeaving: true,
    async start(target) {
      const { server } = await listen(express().use(createProxyMiddleware({ target })));
      const close = async () => server.close().closeAllConnections();
      return { server, close };
    },
  },
  vite: {
    tellsOfLeaving: true,
    async start(target) {
      const vite = await createVite({
        configFile: false,
        logLevel: "silent",
        server: { port: 0, host: "127.0.0.1", proxy: { "/": target } },
      });
      await vite.listen();
      return { server: vite.httpServer, close: () => vite.close() };
    },
  },
  "webpack-dev-server": {
    tellsOfLeaving: false,
    async start(target) {
      const compiler = webpack({ mode: "development", entry: {}, infrastructureLogging: { level: "none" } });
      const proxy = [{ context: ["/"], target }];
      const dev = new WebpackDevServer({ port: 0, host: "127.0.0.1", hot: false, client: false, proxy }, compiler);
      await dev.start();
      return { server: dev.server, close: () => dev.stop() };
    },
  },
};

for (const [name, { start, tellsOfLeaving }] of Object.entries(proxies)) {
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

    test("a stream that the server has cut looks open", async () => {
      const body = reader(await fetch(`${url}/cut`));
      await body.until("first");
      const rest = body.rest().then(
        () => "ended",
        () => "failed",
      );
      cut.open();
      await closed.opened;
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
