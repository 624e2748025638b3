/** Packages that shut a server down: every stream gets its farewell, and none keeps the server open. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";
import { createTerminus } from "@godaddy/terminus";
import express from "express";
import gracefulShutdown from "http-graceful-shutdown";
import { createHttpTerminator } from "http-terminator";
import stoppable from "stoppable";
import { eventSource, gate, listen, reader } from "./scene.js";

/** Each makes of a server the function that shuts it down. */
const packages = {
  "server.close()": (server) => () => server.close(),
  stoppable: (server) => {
    stoppable(server, 10_000);
    return () => server.stop();
  },
  "http-graceful-shutdown": (server) =>
    gracefulShutdown(server, { timeout: 10_000, forceExit: false, signals: "SIGUSR1" }),
  "http-terminator, given a shutdownSignal": (server, shutdown) => {
    const terminator = createHttpTerminator({ server, gracefulTerminationTimeout: 5_000 });
    return () => {
      // It calls server.close() last, after it has waited for the open responses.
      shutdown.abort();
      return terminator.terminate();
    };
  },
  "@godaddy/terminus": (server) => {
    createTerminus(server, { signals: ["SIGUSR2"], timeout: 10_000, useExit0: false, onSignal: async () => {} });
    // Terminus ends with the signal that it was sent, which is harmless once something else listens to it.
    process.on("SIGUSR2", () => {});
    const kill = process.kill;
    return () => {
      process.emit("SIGUSR2");
      process.kill = () => (process.kill = kill);
    };
  },
};

for (const [name, prepare] of Object.entries(packages)) {
  test(name, { timeout: 20_000 }, async () => {
    const shutdown = new AbortController();
    const app = express();
    const closed = gate();
    app.get(
      "/",
      eventSource(
        async function* (_req, stream) {
          yield "first";
          await new Promise((resolve) => stream.shutdown.addEventListener("abort", resolve, { once: true }));
          yield "farewell";
        },
        { shutdownSignal: shutdown.signal, shutdownGracePeriod: 1_000, onClose: closed.open },
      ),
    );
    const server = createServer(app);
    const stop = prepare(server, shutdown);
    const { url } = await listen(app, server);
    const body = reader(await fetch(url));
    await body.until("data: first\n\n");
    const ended = once(server, "close");
    void stop();
    assert.equal(await body.rest(), "data: first\n\ndata: farewell\n\n");
    assert.equal((await closed.opened).reason, "shutdown");
    await ended;
  });
}
