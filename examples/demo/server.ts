// The demo: `npm start`, then open the address it prints. PORT and HOST say where it listens.
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import express, { type ErrorRequestHandler } from "express";
import { Backstage } from "./backstage.js";
import { openBroker } from "./broker.js";
import { openDatabase, openPostgres, type Postgres } from "./database.js";
import { page } from "./page.js";
import type { PanelTools } from "./panel.js";
import { answerPanel } from "./panels/answer.js";
import { chatPanel } from "./panels/chat.js";
import { numbersPanel } from "./panels/numbers.js";
import { ordersPanel } from "./panels/orders.js";
import { pingPanel } from "./panels/ping.js";
import { pricesPanel } from "./panels/prices.js";
import { resumePanel } from "./panels/resume.js";
import { tokensPanel } from "./panels/tokens.js";
import { troublePanel } from "./panels/trouble.js";
import { Writer } from "./writer.js";

export interface DemoOptions {
  /** 0 takes a free port. */
  readonly port?: number;
  readonly host?: string;
  /** Where the log's lines go. */
  readonly print?: (line: string) => void;
}

export interface Demo {
  /** Such as `http://127.0.0.1:3000`. */
  readonly url: string;
  close(): Promise<void>;
}

/** Starts the demo. */
export async function startDemo({
  port = 0,
  host = "127.0.0.1",
  print = console.log,
}: DemoOptions = {}): Promise<Demo> {
  const writer = new Writer((line) => run.log(line));
  let run = await startRun({ port, host, print, restart, writer });
  let restarting: Promise<void> = Promise.resolve();

  function restart(): void {
    restarting = restarting.then(async () => {
      await run.stop();
      run = await startRun({ port: run.port, host, print, restart, writer });
    });
  }

  return {
    url: `http://${host}:${run.port}`,
    async close() {
      await restarting;
      await run.stop();
      await writer.kill();
    },
  };
}

interface RunOptions extends Required<DemoOptions> {
  readonly restart: () => void;
  readonly writer: Writer;
}

/** From one start of the server to its stop: all that is in here is gone after a restart. */
async function startRun({ port, host, print, restart, writer }: RunOptions) {
  const { broker, close: closeBroker } = await openBroker();
  const backstage = new Backstage(print);
  const stopping = new AbortController();
  const log = (line: string) => backstage.log(line);
  let postgres: Promise<Postgres> | undefined;
  const tools: PanelTools = {
    broker,
    postgres: () => (postgres ??= openPostgres()),
    writer,
    log,
    restart,
    run: (work) =>
      void work(stopping.signal).catch((error) => stopping.signal.aborted || log(`server: ${String(error)}`)),
  };
  const failed: ErrorRequestHandler = (error, req, res, next) => {
    log(`server: ${req.method} ${req.path}: ${String(error)}`);
    if (res.headersSent) next(error);
    else res.status(Number(error?.status) || 500).json({ error: "That did not work; the server's log says why." });
  };

  const app = express()
    .disable("x-powered-by")
    .use(page())
    .use("/backstage", backstage.router)
    .use(backstage.watch)
    .use("/numbers", numbersPanel())
    .use("/ping", pingPanel())
    .use("/tokens", tokensPanel(tools))
    .use("/resume", resumePanel())
    .use("/prices", pricesPanel(tools))
    .use("/chat", chatPanel(tools))
    .use("/answer", answerPanel(tools))
    .use("/orders", ordersPanel(tools))
    .use("/trouble", troublePanel(tools))
    .use(failed);
  const server = createServer(app).listen(port, host);
  await once(server, "listening");
  log("server: listening");

  return {
    log,
    port: (server.address() as AddressInfo).port,
    async stop() {
      log("server: closing");
      stopping.abort();
      // Every open stream is ended by this: the library sees that its server closes.
      server.close();
      const limit = setTimeout(() => server.closeAllConnections(), 2_000);
      await once(server, "close");
      clearTimeout(limit);
      await Promise.all([closeBroker(), backstage.close(), (await postgres)?.broker.close()]);
    },
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const port = Number(process.env.PORT ?? 3000);
  // While it starts nothing else runs in this process, so it does that before anybody watches a stream.
  await openDatabase();
  const demo = await startDemo({ port, host: process.env.HOST ?? "127.0.0.1" }).catch((error) => {
    console.error(error.code === "EADDRINUSE" ? `Port ${port} is taken; PORT=8080 npm start takes another.` : error);
    process.exit(1);
  });
  console.log(`The demo is at ${demo.url}`);
  // Without `exit` a timer of the embedded Postgres would keep the process for ten seconds more.
  const leave = () => void demo.close().finally(() => process.exit());
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, leave);
}
