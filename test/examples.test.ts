import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const folders = ["basic", "advanced", "push", "faults", "broker", "metrics"];
const files = folders.flatMap((folder) => readdirSync(`${root}examples/${folder}`).map((file) => `${folder}/${file}`));

/** A running example, as its reader meets it: what it prints, and what curl shows. */
class Example {
  #output = "";
  #look = () => {};
  readonly #process;
  url = "";

  constructor(file: string) {
    this.#process = spawn(process.execPath, ["--import", "tsx", `examples/${file}`], { cwd: root, env: { ...process.env, PORT: "0" } });
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.#output += text;
        this.#look();
      });
    }
    this.#process.on("exit", () => this.#look());
  }

  /** Resolves with what it has printed, when that contains `text`. */
  prints(text: string | RegExp): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#look = () => {
        if (this.#output.search(text) !== -1) resolve(this.#output);
        else if (this.#process.exitCode !== null) reject(new Error(`It ended with ${this.#process.exitCode}, having printed:\n${this.#output}`));
      };
      this.#look();
    });
  }

  exited(): Promise<number | null> {
    return new Promise((resolve) => {
      if (this.#process.exitCode !== null) resolve(this.#process.exitCode);
      else this.#process.on("exit", resolve);
    });
  }

  /** Requests a path and reads until `enough` is there, or the end. */
  async curl(path: string, { enough, ...init }: RequestInit & { enough?: string | RegExp } = {}) {
    const leave = new AbortController();
    const response = await fetch(new URL(path, this.url), { ...init, signal: leave.signal });
    let text = "";
    try {
      for await (const chunk of response.body ?? []) {
        text += Buffer.from(chunk).toString("utf8");
        if (enough !== undefined && text.search(enough) !== -1) break;
      }
    } catch (error) {
      return { response, text, failed: String(error) };
    } finally {
      leave.abort();
    }
    return { response, text, failed: undefined };
  }

  signal(name: NodeJS.Signals): void {
    this.#process.kill(name);
  }
}

async function start(file: string, onTestFinished: (stop: () => void) => void): Promise<Example> {
  const example = new Example(file);
  onTestFinished(() => example.signal("SIGKILL"));
  const [url] = /http:\S+/.exec(await example.prints(/http:\S+\n/)) as RegExpExecArray;
  example.url = url;
  return example;
}

test("every example is tested here, and says at its top how to try it", () => {
  const tests = readFileSync(fileURLToPath(import.meta.url), "utf8");
  for (const file of files) {
    expect(tests, file).toContain(`start("${file}"`);
    expect(readFileSync(`${root}examples/${file}`, "utf8"), file).toMatch(/^\/\/ [^]*?\n\/\/ {5}curl .*http:\/\/localhost:3000\//);
  }
});

describe.concurrent("basic", () => {
  test("finite: three numbers, then the end", async ({ onTestFinished }) => {
    const example = await start("basic/finite.ts", onTestFinished);
    const { text } = await example.curl("/numbers");
    expect(text).toBe('id: 1\ndata: {"n":1}\n\nid: 2\ndata: {"n":2}\n\nid: 3\ndata: {"n":3}\n\n');
  });

  test("endless: cleans up when the client leaves", async ({ onTestFinished }) => {
    const example = await start("basic/endless.ts", onTestFinished);
    const { text } = await example.curl("/clock", { enough: "\n\n" });
    expect(text).toMatch(/^event: time\ndata: \d{4}-.*Z\n\n$/);
    await example.prints("cleaned up: disconnected");
  });

  test("range: by route parameters, resumed by Last-Event-ID, 204 when nothing is left", async ({ onTestFinished }) => {
    const example = await start("basic/range.ts", onTestFinished);
    const ids = (text: string) => text.match(/(?<=id: )\d+/g);
    expect(ids((await example.curl("/numbers/3/6")).text)).toEqual(["3", "4", "5", "6"]);
    expect(ids((await example.curl("/numbers/3/6", { headers: { "Last-Event-ID": "4" } })).text)).toEqual(["5", "6"]);
    expect((await example.curl("/numbers/3/6", { headers: { "Last-Event-ID": "6" } })).response.status).toBe(204);
    expect((await example.curl("/numbers/three/6")).response.status).toBe(400);
  });

  test("conditional: 401 for a stranger, the stream, then 204", async ({ onTestFinished }) => {
    const example = await start("basic/conditional.ts", onTestFinished);
    const headers = { Authorization: "Bearer secret" };
    expect((await example.curl("/jobs/running")).response.status).toBe(401);
    expect((await example.curl("/jobs/done", { headers })).response.status).toBe(204);
    expect((await example.curl("/jobs/running", { headers })).text).toContain('event: progress\ndata: {"percent":100}\n\n');
    expect((await example.curl("/jobs/running", { headers })).response.status).toBe(204);
  });
});

describe.concurrent("advanced", () => {
  test("ping: as a comment, and as an event", async ({ onTestFinished }) => {
    const example = await start("advanced/ping.ts", onTestFinished);
    const [comments, events] = await Promise.all([
      example.curl("/comments", { enough: "ping\n\n" }),
      example.curl("/events", { enough: "alive" }),
    ]);
    expect(comments.text).toContain("\n\n: you can't see\n: this ping\n\n");
    expect(events.text).toMatch(/\n\nevent: alive\n/);
  });

  test("errors: an HTTP error before the head, then an event, or a cut connection, and never its own text", async ({ onTestFinished }) => {
    const example = await start("advanced/errors.ts", onTestFinished);
    const before = await example.curl("/before");
    expect([before.response.status, before.text]).toEqual([404, '{"error":"No such report"}']);
    const told = await example.curl("/told");
    expect(told.text).toBe('data: line 1\n\nevent: failure\ndata: {"message":"The report could not be finished.","retryable":true}\n\n');
    await example.prints("logged: Error: the password");
    const cut = await example.curl("/cut");
    expect(cut.text).toBe("data: line 1\n\n");
    expect(cut.failed).toBeDefined();
    await example.prints("error handler: the password");
  });

  test("line endings: the three of the standard", async ({ onTestFinished }) => {
    const example = await start("advanced/line-endings.ts", onTestFinished);
    const poem = "event: verse\ndata: two\ndata: lines\n\n";
    expect((await example.curl("/lf")).text).toBe(poem);
    expect((await example.curl("/crlf")).text).toBe(poem.replaceAll("\n", "\r\n"));
    expect((await example.curl("/cr")).text).toBe(poem.replaceAll("\n", "\r"));
  });

  test("fan-out proxy: an answer that may be cached", async ({ onTestFinished }) => {
    const example = await start("advanced/fan-out-proxy.ts", onTestFinished);
    const { response, text } = await example.curl("/scores", { enough: "\n\n" });
    expect(text).toBe('event: score\ndata: {"home":0,"away":1}\n\n');
    expect(response.headers.get("Cache-Control")).toBe("public, max-age=29");
    expect(response.headers.has("X-Accel-Buffering")).toBe(false);
  });

  test("after the end: the summary of a whole stream, and of one that was left", async ({ onTestFinished }) => {
    const example = await start("advanced/after-the-end.ts", onTestFinished);
    await example.curl("/countdown");
    await example.prints(/\/countdown completed: 3 events, 27 bytes in \d+ ms/);
    await example.curl("/countdown", { enough: "\n\n" });
    await example.prints(/\/countdown disconnected: \d events/);
  });
});

describe.concurrent("push", () => {
  test("one producer: is let go when the client leaves", async ({ onTestFinished }) => {
    const example = await start("push/one-producer.ts", onTestFinished);
    expect((await example.curl("/ticks", { enough: "\n\n" })).text).toMatch(/^event: tick\ndata: {"time":\d+}\n\n$/);
    await example.prints("listeners left: 0");
  });

  test("several producers: all their events, then the end", async ({ onTestFinished }) => {
    const example = await start("push/several-producers.ts", onTestFinished);
    const { text } = await example.curl("/news");
    expect(text.match(/weather/g)).toHaveLength(3);
    expect(text.match(/traffic/g)).toHaveLength(3);
  });

  test("back-pressure: a client that reads nothing stops the producer", async ({ onTestFinished }) => {
    const example = await start("push/back-pressure.ts", onTestFinished);
    const { port } = new URL(example.url);
    const slow = connect(Number(port), "localhost");
    onTestFinished(() => void slow.destroy());
    slow.pause().write("GET /rows HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await example.prints("1000 rows produced");
    // A client that reads gets everything in the time in which the other one's producer waits.
    const { text } = await example.curl("/rows");
    expect(text.match(/\bid: /g)).toHaveLength(30_000);
    const printed = await example.prints("30000 rows produced");
    expect(printed.match(/^30000 rows produced$/gm)).toHaveLength(1);
  });
});

describe.concurrent("faults", () => {
  test("send timeout: a frozen client is dropped, and its source stopped", async ({ onTestFinished }) => {
    const example = await start("faults/send-timeout.ts", onTestFinished);
    const { port } = new URL(example.url);
    const frozen = connect(Number(port), "localhost");
    frozen.on("error", () => {});
    onTestFinished(() => void frozen.destroy());
    frozen.pause().write("GET /flood HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await example.prints("source stopped");
    await example.prints(/dropped: timeout after \d+ ms and \d+ MB/);
  });

  test("shutdown: a farewell on Ctrl+C, and the process ends", async ({ onTestFinished }) => {
    const example = await start("faults/shutdown.ts", onTestFinished);
    let text = "";
    for await (const chunk of (await fetch(example.url)).body ?? []) {
      if (text === "") example.signal("SIGINT");
      text += Buffer.from(chunk).toString("utf8");
    }
    expect(text).toBe("id: 1\ndata: news 1\n\nevent: farewell\ndata: back in a moment\nretry: 2000\n\n");
    expect(await example.exited()).toBe(0);
    await example.prints("closed");
  });
});

describe.concurrent("metrics", () => {
  test("prometheus: counts streams, events and bytes by route, and how streams ended", async ({ onTestFinished }) => {
    const example = await start("metrics/prometheus.ts", onTestFinished);
    await example.curl("/numbers");
    const { text } = await example.curl("/metrics");
    expect(text).toContain('sse_streams_open{route="/numbers"} 0\n');
    expect(text).toContain('sse_events_total{route="/numbers"} 3\n');
    expect(text).toContain('sse_bytes_total{route="/numbers"} 27\n');
    expect(text).toContain('sse_stream_seconds_count{route="/numbers",reason="completed"} 1\n');
  });
});
