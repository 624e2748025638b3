import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import type { Server as HttpServer } from "node:http";
import { createRequire } from "node:module";
import { connect, Server, type Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { format } from "node:util";
import { memoryBroker } from "express-event-source";
import { compileFunction } from "node:vm";
import * as library from "express-event-source";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { problemsOf } from "./support/samples.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const folders = ["basic", "advanced", "push", "faults", "broker", "metrics", "pages"];
const files = folders.flatMap((folder) =>
  readdirSync(`${root}examples/${folder}`)
    .filter((file) => /\.(?:ts|cjs)$/.test(file))
    .map((file) => `${folder}/${file}`),
);

/** What examples print, all of them together. */
class Output {
  #text = "";
  readonly #waiting = new Set<() => void>();

  print(text: string): void {
    this.#text += text;
    for (const look of this.#waiting) look();
  }

  /** Resolves with what matches from `start` on, when it has been printed. */
  until(text: string | RegExp, start = 0): Promise<string> {
    return new Promise((resolve) => {
      const look = () => {
        const found = this.#text.slice(start).match(text);
        if (found === null) return;
        this.#waiting.delete(look);
        resolve(found[0]);
      };
      this.#waiting.add(look);
      look();
    });
  }

  get length(): number {
    return this.#text.length;
  }

  /** How often a line has been printed. */
  count(line: string): number {
    return this.#text.split("\n").filter((printed) => printed === line).length;
  }
}

const output = new Output();
const prints = (text: string | RegExp) => output.until(text);
const listen = vi.spyOn(Server.prototype, "listen");

beforeAll(() => {
  vi.stubEnv("PORT", "0");
  vi.spyOn(console, "log").mockImplementation((...values) => output.print(`${format(...values)}\n`));
});

afterAll(() => {
  for (const server of listen.mock.contexts as HttpServer[]) {
    server.close();
    server.closeAllConnections();
  }
  vi.unstubAllEnvs();
});

let started: Promise<unknown> = Promise.resolve();

/** Starts an example in this process, which is far faster than in one of its own. One after the other: each prints its address. */
function start(file: string): Promise<Running> {
  const running = started.then(async () => {
    const from = output.length;
    if (file.endsWith(".cjs")) runWithExpress4(file);
    else await import(/* @vite-ignore */ `../examples/${file}`);
    return new Running(await output.until(/http:\S+/, from));
  });
  started = running;
  return running;
}

/** Runs a CommonJS example; what it requires as Express is Express 4. */
function runWithExpress4(file: string): void {
  const load = createRequire(import.meta.url);
  const modules: Record<string, unknown> = { express: load("express4"), "express-event-source": library };
  const require = (name: string) => modules[name] ?? load(name);
  compileFunction(readFileSync(`${root}examples/${file}`, "utf8"), ["require"])(require);
}

/** A running example, seen from outside. */
class Running {
  readonly url: string;

  constructor(url: string) {
    this.url = url;
  }

  /** Requests a path and reads, as curl does, until `enough` is there, or the end. */
  readonly curl = async (path: string, { enough, ...init }: RequestInit & { enough?: string | RegExp } = {}) => {
    const leave = new AbortController();
    const response = await fetch(new URL(path, this.url), { ...init, signal: leave.signal });
    let text = "";
    let isCut = false;
    try {
      for await (const chunk of response.body ?? []) {
        text += Buffer.from(chunk).toString("utf8");
        if (enough !== undefined && text.search(enough) !== -1) break;
      }
    } catch {
      isCut = true;
    }
    leave.abort();
    return { response, text, isCut };
  };

  /**
   * Requests a path, reads its first event and stays until `leave` is called, or to the `end`. The body stays locked by its reader: fetch
   * cancels a body that nobody reads as soon as its response has been garbage-collected.
   */
  readonly stay = async (path: string, init: RequestInit = {}) => {
    const leave = new AbortController();
    const { body } = await fetch(new URL(path, this.url), { ...init, signal: leave.signal });
    const reader = body?.getReader();
    await reader?.read();
    const end = async () => {
      while ((await reader?.read())?.done === false);
    };
    return { leave: () => leave.abort(), end };
  };

  /** Requests a path and reads nothing. */
  readonly freeze = (path: string): Socket => {
    const { hostname, port } = new URL(this.url);
    const socket = connect(Number(port), hostname).on("error", () => {});
    socket.pause().write(`GET ${path} HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`);
    return socket;
  };
}

test("every example is tested here, and says at its top how to try it", () => {
  const tests = readFileSync(fileURLToPath(import.meta.url), "utf8");
  for (const file of files) {
    expect(tests, file).toContain(`start("${file}"`);
    expect(readFileSync(`${root}examples/${file}`, "utf8"), file).toMatch(
      /^\/\/ [^]*?\n\/\/ {5}curl .*http:\/\/localhost:3000\//,
    );
  }
});

describe.concurrent("basic", () => {
  test("finite: three numbers, then the end", async () => {
    const { curl } = await start("basic/finite.ts");
    const { text } = await curl("/numbers");
    expect(text).toBe('id: 1\ndata: {"n":1}\n\nid: 2\ndata: {"n":2}\n\nid: 3\ndata: {"n":3}\n\n');
  });

  test("endless: cleans up when the client leaves", async () => {
    const { curl } = await start("basic/endless.ts");
    const { text } = await curl("/clock", { enough: "\n\n" });
    expect(text).toMatch(/^event: time\ndata: \d{4}-.*Z\n\n$/);
    await prints("cleaned up: disconnected");
  });

  test("range: by route parameters, resumed by Last-Event-ID, 204 when nothing is left", async () => {
    const { curl } = await start("basic/range.ts");
    const ids = (text: string) => text.match(/(?<=id: )\d+/g);
    expect(ids((await curl("/numbers/3/6")).text)).toEqual(["3", "4", "5", "6"]);
    expect(ids((await curl("/numbers/3/6", { headers: { "Last-Event-ID": "4" } })).text)).toEqual(["5", "6"]);
    expect((await curl("/numbers/3/6", { headers: { "Last-Event-ID": "6" } })).response.status).toBe(204);
    expect((await curl("/numbers/three/6")).response.status).toBe(400);
  });

  test("conditional: 401 for a stranger, the stream, then 204", async () => {
    const { curl } = await start("basic/conditional.ts");
    const headers = { Cookie: "session=secret" };
    expect((await curl("/jobs/running")).response.status).toBe(401);
    expect((await curl("/jobs/done", { headers })).response.status).toBe(204);
    expect((await curl("/jobs/running", { headers })).text).toContain('event: progress\ndata: {"percent":100}\n\n');
    expect((await curl("/jobs/running", { headers })).response.status).toBe(204);
  });
});

describe.concurrent("basic, in CommonJS with Express 4", () => {
  test("streams, and passes on the errors of an async handler", async () => {
    const { curl } = await start("basic/commonjs.cjs");
    expect((await curl("/numbers")).text).toBe(
      'id: 1\ndata: {"n":1}\n\nid: 2\ndata: {"n":2}\n\nid: 3\ndata: {"n":3}\n\n',
    );
    expect((await curl("/orders/7")).text).toBe("data: received\n\ndata: packed\n\ndata: sent\n\n");
    expect((await curl("/orders/8")).response.status).toBe(404);
  });
});

describe.concurrent("advanced", () => {
  test("ping: as a comment, and as an event", async () => {
    const { curl } = await start("advanced/ping.ts");
    const [comments, events] = await Promise.all([
      curl("/comments", { enough: "ping\n\n" }),
      curl("/events", { enough: "alive" }),
    ]);
    expect(comments.text).toContain("\n\n: you can't see\n: this ping\n\n");
    expect(events.text).toMatch(/\n\nevent: alive\n/);
  });

  test("errors: an HTTP error before the head, then an event, or a cut connection, and never its own text", async () => {
    const { curl } = await start("advanced/errors.ts");
    const before = await curl("/before");
    expect([before.response.status, before.text]).toEqual([404, '{"error":"No such report"}']);
    const told = await curl("/told");
    expect(told.text).toBe(
      'data: line 1\n\nevent: failure\ndata: {"message":"The report could not be finished.","retryable":true}\n\n',
    );
    await prints("logged: Error: the password");
    const cut = await curl("/cut");
    expect(cut.text).toBe("data: line 1\n\n");
    expect(cut.isCut).toBe(true);
    await prints("error handler: the password");
  });

  test("line endings: the three of the standard", async () => {
    const { curl } = await start("advanced/line-endings.ts");
    const poem = "event: verse\ndata: two\ndata: lines\n\n";
    expect((await curl("/lf")).text).toBe(poem);
    expect((await curl("/crlf")).text).toBe(poem.replaceAll("\n", "\r\n"));
    expect((await curl("/cr")).text).toBe(poem.replaceAll("\n", "\r"));
  });

  test("fan-out proxy: an answer that may be cached", async () => {
    const { curl } = await start("advanced/fan-out-proxy.ts");
    const { response, text } = await curl("/scores", { enough: "\n\n" });
    expect(text).toBe('event: score\ndata: {"home":0,"away":1}\n\n');
    expect(response.headers.get("Cache-Control")).toBe("public, max-age=29");
    expect(response.headers.has("X-Accel-Buffering")).toBe(false);
  });

  test("after the end: the summary of a whole stream, and of one that was left", async () => {
    const { curl } = await start("advanced/after-the-end.ts");
    await curl("/countdown");
    await prints(/\/countdown completed: 3 events, 27 bytes in \d+ ms/);
    await curl("/countdown", { enough: "\n\n" });
    await prints(/\/countdown disconnected: \d events/);
  });

  test("limits: one too many is told to come back later, and there is room again when one has left", async () => {
    const { curl, stay } = await start("advanced/limits.ts");
    const headers = { "X-User": "ann" };
    const first = await stay("/time", { headers });
    const second = await stay("/time", { headers });
    const { response, text } = await curl("/time", { headers });
    expect(response.status).toBe(200);
    expect(text).toMatch(/^retry: [12]\d{4}\n\n: too many streams\n\n$/);
    await prints("too many: user ann");
    expect((await curl("/time", { headers: { "X-User": "bob" }, enough: "\n\n" })).text).toContain("event: time");
    await prints("streams left: 2");
    first.leave();
    await prints("streams left: 1");
    expect((await curl("/time", { headers, enough: "\n\n" })).text).toContain("event: time");
    second.leave();
    await prints("streams left: 0");
  });
});

describe.concurrent("push", () => {
  test("one producer: is let go when the client leaves", async () => {
    const { curl } = await start("push/one-producer.ts");
    expect((await curl("/ticks", { enough: "\n\n" })).text).toMatch(/^event: tick\ndata: {"time":\d+}\n\n$/);
    await prints("listeners left: 0");
  });

  test("several producers: all their events, then the end", async () => {
    const { curl } = await start("push/several-producers.ts");
    const { text } = await curl("/news");
    expect(text.match(/weather/g)).toHaveLength(3);
    expect(text.match(/traffic/g)).toHaveLength(3);
  });

  test("back-pressure: a client that reads nothing stops its producer, one that reads gets everything", async () => {
    const { curl, freeze } = await start("push/back-pressure.ts");
    const frozen = freeze("/rows");
    await prints("1000 rows produced");
    const { text } = await curl("/rows");
    expect(text.match(/\bid: /g)).toHaveLength(30_000);
    expect(output.count("30000 rows produced")).toBe(1);
    frozen.destroy();
  });
});

describe.concurrent("faults", () => {
  test("send timeout: a frozen client is dropped, and its source stopped", async () => {
    const { freeze } = await start("faults/send-timeout.ts");
    const frozen = freeze("/flood");
    await prints("source stopped");
    await prints(/dropped: timeout after \d+ ms and \d+ MB/);
    frozen.destroy();
  });

  test("shutdown: run as the README says, it sends a farewell on Ctrl+C and ends", async ({ onTestFinished }) => {
    // The file of start("faults/shutdown.ts"), in a process of its own: Ctrl+C is meant for all of it.
    const server = spawn(process.execPath, ["--import", "tsx", "examples/faults/shutdown.ts"], {
      cwd: root,
      stdio: ["ignore", "pipe", "inherit"],
    });
    onTestFinished(() => void server.kill("SIGKILL"));
    const exited = once(server, "exit");
    const [url] = await once(server.stdout.setEncoding("utf8"), "data");
    let text = "";
    for await (const chunk of (await fetch(url)).body ?? []) {
      if (text === "") server.kill("SIGINT");
      text += Buffer.from(chunk).toString("utf8");
    }
    expect(text).toBe("id: 1\ndata: news 1\n\nevent: farewell\ndata: back in a moment\nretry: 2000\n\n");
    expect(await exited).toEqual([0, null]);
  });
});

describe.concurrent("broker", () => {
  const idOf = (text: string) => /^id: (.*)$/m.exec(text)?.[1] as string;

  test("prices: the symbols that were asked for, and what was missed", async () => {
    const { curl } = await start("broker/prices.ts");
    const both = await curl("/prices/ACME,GLOBEX", { enough: /ACME[^]*GLOBEX[^]*ACME/ });
    expect(both.text).not.toContain("HOOLI");
    const resumed = await curl("/prices/ACME,GLOBEX", {
      headers: { "Last-Event-ID": idOf(both.text) },
      enough: "GLOBEX",
    });
    // The first event after the one that was seen: the same one that came the first time.
    expect(resumed.text.split("\n\n")[0]).toBe(both.text.split("\n\n")[1]);
    expect(resumed.text).not.toContain("gap");
  });

  test("chat: members read and write, others do not", async () => {
    const { curl } = await start("broker/chat.ts");
    const as = (user: string) => ({ Cookie: `session=${user}`, "Content-Type": "application/json" });
    const say = (text: string) =>
      curl("/rooms/garden", { method: "POST", headers: as("bert"), body: JSON.stringify({ text }) });
    expect((await curl("/rooms/garden")).response.status).toBe(401);
    expect((await curl("/rooms/cellar", { headers: as("anna") })).response.status).toBe(403);
    expect((await say("hello")).response.status).toBe(201);
    await say("anybody?");
    const seen = await curl("/rooms/garden", { headers: as("anna"), enough: "anybody" });
    expect(seen.text).toContain('event: message\ndata: {"from":"bert","text":"hello"}\n\n');
    const missed = await curl("/rooms/garden", {
      headers: { ...as("anna"), "Last-Event-ID": idOf(seen.text) },
      enough: "anybody",
    });
    expect(missed.text).not.toContain("hello");
  });

  test("answer: whole for everyone, the rest for who comes back, then 204", async () => {
    const { curl } = await start("broker/answer.ts");
    const asked = await curl("/answers", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: '{ "prompt": "Why?" }',
    });
    const path = asked.response.headers.get("Location") as string;
    const left = await curl(path, { enough: "asked" });
    const [whole, rest] = await Promise.all([
      curl(path),
      curl(path, { headers: { "Last-Event-ID": idOf(left.text) } }),
    ]);
    const words = (text: string) => [...text.matchAll(/"text":"(.*?)"/g)].map(([, word]) => word).join("");
    expect(words(whole.text)).toBe("You asked: Why? It scatters.");
    expect(words(rest.text)).toBe("asked: Why? It scatters.");
    const last = whole.text.match(/(?<=id: ).*/g)?.at(-1) as string;
    expect((await curl(path, { headers: { "Last-Event-ID": last } })).response.status).toBe(204);
    expect((await curl("/answers/unknown")).response.status).toBe(204);
  });

  test("filter: only what passes, rewritten, under the broker's ids", async () => {
    const { curl } = await start("broker/filter.ts");
    const { text } = await curl("/orders?above=500", { enough: /(\n\n[^]*){5}/ });
    const euros = [...text.matchAll(/^data: {"euros":(\d+),"customer":"\(hidden\)"}$/gm)].map(([, amount]) =>
      Number(amount),
    );
    expect(euros.length).toBeGreaterThanOrEqual(5);
    expect(Math.min(...euros)).toBeGreaterThan(500);
    expect(text.match(/^id: /gm)?.length).toBeGreaterThanOrEqual(5);
  });
});

describe.concurrent("metrics", () => {
  test("prometheus: counts streams, events and bytes by route, and how streams ended", async () => {
    const { curl } = await start("metrics/prometheus.ts");
    await curl("/numbers");
    const fails = () => Promise.reject(new Error("the model is away"));
    const failing = await memoryBroker().produce("answer", fails);
    await expect(failing?.done).rejects.toThrow("the model is away");
    const { text } = await curl("/metrics");
    expect(text).toContain('sse_streams_open{route="/numbers"} 0\n');
    expect(text).toContain('sse_events_total{route="/numbers"} 3\n');
    expect(text).toContain('sse_bytes_total{route="/numbers"} 27\n');
    expect(text).toContain('sse_stream_seconds_count{route="/numbers",reason="completed"} 1\n');
    expect(text).toContain('sse_stream_errors_total{route="producer"} 1\n');
  });
});

describe.concurrent("pages", () => {
  test("job: progress from its start for whoever watches, once however often it is started, and Stop ends it", async () => {
    const { curl } = await start("pages/job.ts");
    expect((await curl("/")).text).toContain("<progress");
    expect((await curl("/jobs/1", { method: "POST" })).response.status).toBe(201);
    expect((await curl("/jobs/1", { method: "POST" })).response.status).toBe(200);
    const { text } = await curl("/jobs/1");
    expect(text.match(/(?<="percent":)\d+/g)).toEqual(["10", "20", "30", "40", "50", "60", "70", "80", "90", "100"]);
    await prints("the job is completed");
    await curl("/jobs/2", { method: "POST" });
    const watched = curl("/jobs/2");
    expect((await curl("/jobs/2", { method: "DELETE" })).text).toBe('{"stopped":true}');
    expect((await watched).text).not.toContain('"percent":100');
    await prints("the job is stopped");
  });

  test("notifications: for the user of the session, in all of its pages, until it logs out", async () => {
    const { curl, stay } = await start("pages/notifications.ts");
    expect((await curl("/")).text).toContain("<h1>Notifications</h1>");
    expect((await curl("/notifications")).response.status).toBe(401);
    const login = async (user: string) => {
      const body = new URLSearchParams({ user });
      const { response } = await curl("/login", { method: "POST", body, redirect: "manual" });
      expect(response.headers.get("Set-Cookie")).toContain("; HttpOnly; SameSite=Lax");
      return { Cookie: response.headers.get("Set-Cookie")?.split(";")[0] ?? "" };
    };
    const [anna, bert] = [await login("anna"), await login("bert")];
    const notify = (user: string, text: string) =>
      curl(`/notify/${user}`, {
        method: "POST",
        headers: { ...bert, "Content-Type": "application/json" },
        body: JSON.stringify({ text }),
      });
    await notify("bert", "for me alone");
    expect((await notify("anna", "lunch?")).response.status).toBe(201);
    const { text } = await curl("/notifications", { headers: anna, enough: "lunch" });
    expect(text).toMatch(/^retry: 500\n\nid: .*\nevent: notification\ndata: {"from":"bert","text":"lunch\?"}\n\n$/);
    const open = await stay("/notifications", { headers: anna });
    expect((await curl("/logout", { method: "POST", headers: anna })).response.status).toBe(204);
    await open.end();
    expect((await curl("/notifications", { headers: anna })).response.status).toBe(401);
  });

  test(
    "chat: every message for everybody, of the types that the page is compiled with",
    { timeout: 60_000 },
    async () => {
      const { curl } = await start("pages/chat.ts");
      expect((await curl("/")).text).toContain('src="/chat.page.js"');
      const program = (await curl("/chat.page.js")).text;
      const say = (text: string) =>
        curl("/messages", {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify({ name: "anna", text }),
        });
      expect((await say("hello")).response.status).toBe(201);
      await say("anybody?");
      const { text } = await curl("/messages", { enough: "anybody" });
      expect(text.match(/^(?:event|data): .*$/gm)).toEqual([
        "event: joined",
        'data: {"name":"anna"}',
        "event: said",
        'data: {"name":"anna","text":"hello"}',
        "event: said",
        'data: {"name":"anna","text":"anybody?"}',
      ]);
      const compile = (code: string) =>
        problemsOf(
          new Map([
            [
              "chat",
              {
                code: `/// <reference lib="dom" />\n${code.replace("./chat.js", "./examples/pages/chat.js")}`,
                isTyped: false,
              },
            ],
          ]),
        );
      expect(compile(program)).toBe("");
      expect(compile(program.replace("said: ({ name, text })", "said: ({ name, body: text })"))).toContain("body");
      expect(compile(program.replace("joined:", "left:"))).toContain("left");
    },
  );
});
