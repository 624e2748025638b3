import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test, vi } from "vitest";
import { Document, type Program, root } from "./support/document.js";
import { type Ask, json, problemsOf, run, sampleStage, syntaxErrors } from "./support/samples.js";

const guides = [
  ...readdirSync(`${root}examples`, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith("README.md"))
    .map((file) => new Document(`examples/${file}`)),
  new Document("test/README.md"),
];
const guideOf = (topic: string) => guides.find(({ file }) => file === `examples/${topic}/README.md`) as Document;
const read = (file: string) => readFileSync(root + file, "utf8");

/** What shows that a section's samples do what they say, by guide and section. */
const proofs: Record<string, Record<string, (ask: Ask) => Promise<void>>> = {
  pages: {
    fetch: async (ask) => {
      const { text } = await ask("/chat", json({ prompt: "Why blue" }));
      expect(text).toBe('event: token\ndata: {"word":"Why"}\n\nevent: token\ndata: {"word":"blue"}\n\n');
    },
    "fetch, with retry and resume": async (ask) => {
      const { text } = await ask("/export", json({ rows: 2 }));
      expect(text).toBe('retry: 1000\n\nid: 1\ndata: {"row":1}\n\nid: 2\ndata: {"row":2}\n\n');
    },
    "event-source-polyfill": async (ask) => {
      expect((await ask("/numbers?lastEventId=2")).text).toBe("id: 3\ndata: 3\n\n");
      expect((await ask("/numbers", { headers: { "Last-Event-ID": "2" } })).text).toBe("id: 3\ndata: 3\n\n");
      expect((await ask("/numbers?lastEventId=3")).status).toBe(204);
    },
  },
  authentication: {
    Cookies: async (ask) => {
      const headers = { Cookie: "theme=dark; session=secret", "Content-Type": "application/json" };
      expect((await ask("/inbox")).status).toBe(401);
      expect((await ask("/inbox", { headers: { Cookie: "session=guessed" } })).status).toBe(401);
      expect((await ask("/inbox/anna", { ...json({ text: "hi" }), headers })).status).toBe(201);
      const missed = { headers: { ...headers, "Last-Event-ID": "made-up" }, enough: "hi" };
      expect((await ask("/inbox", missed)).text).toContain('event: note\ndata: {"from":"anna","text":"hi"}\n\n');
    },
    "Another origin": async (ask) => {
      const { headers } = await ask("/public");
      expect(headers.get("Access-Control-Allow-Origin")).toBe("https://example.com");
    },
  },
  metrics: {
    Prometheus: async (ask) => {
      expect((await ask("/metrics")).text).toContain("sse_streams_open 0\n");
    },
  },
  migrating: {
    "From better-sse": async (ask) => {
      const missed = { headers: { "Last-Event-ID": "made-up" }, enough: "hi" };
      expect((await ask("/events", missed)).text).toMatch(/\nevent: greeting\ndata: {"text":"hi"}\n\n$/);
    },
    "From express-sse": async (ask) => {
      expect((await ask("/stream", { enough: "\n\n" })).text).toBe('data: "first"\n\n');
    },
    "From a handler of your own": async (ask) => {
      expect((await ask("/time", { enough: "\n\n" })).text).toMatch(/^data: \d+\n\n$/);
    },
  },
  postgres: {
    "In your own transaction": async (ask) => {
      expect((await ask("/orders", json({ item: "tea", price: 0 }))).status).toBe(500);
      expect((await ask("/orders", json({ item: "cake", price: 3 }))).status).toBe(201);
      const { text } = await ask("/orders", { enough: "\n\n" });
      expect(text).toMatch(/^id: .*\nevent: ordered\ndata: {"item":"cake"}\n\n$/);
    },
  },
  proxies: {
    Compression: async (ask) => {
      expect((await ask("/compressed")).text).toBe("data: text\n\n");
    },
    Shutdown: async (ask) => {
      expect((await ask("/")).status).toBe(404);
      expect(vi.mocked(process.once).mock.calls[0]?.[0]).toBe("SIGTERM");
    },
  },
};

/** Sections that are only compiled (they need a server that is not here), or run in a test of their own below. */
const elsewhere: Record<string, string[]> = { redis: ["Use"], postgres: ["Use"], testing: ["Vitest"] };

// A compiler that reads the types of Redis, Vitest and Express takes its time.
test("the samples compile as they stand", { timeout: 120_000 }, () => {
  const programs = guides.flatMap(({ file, programs }) =>
    [...programs].map(([section, program]) => [`${file} ${section}`, program] as const),
  );
  expect(problemsOf(new Map<string, Program>(programs))).toBe("");
});

describe.each(guides.map((guide) => [guide.file, guide] as const))("%s", (_, guide) => {
  test("its links lead to files and headings that are there", () => {
    expect(guide.brokenLinks).toEqual([]);
  });

  test("its JavaScript is JavaScript", () => {
    for (const { language, code, line } of guide.samples) {
      if (language === "js") expect(syntaxErrors(code), `line ${line}`).toEqual([]);
    }
  });

  const topic = guide.file.split("/")[1] ?? "";
  const { start } = sampleStage();

  test("each of its sections with code has a proof", () => {
    const proven = [...Object.keys(proofs[topic] ?? {}), ...(elsewhere[topic] ?? [])];
    expect(proven.sort()).toEqual([...guide.programs.keys()].sort());
  });

  // An embedded Postgres takes some seconds to begin.
  test.for(Object.entries(proofs[topic] ?? {}))("%s", { timeout: 90_000 }, async ([section, prove]) => {
    await prove((await start(guide.programs.get(section))).ask);
  });
});

describe("what the guides say", () => {
  const { start } = sampleStage();

  test("testing: its own tests pass", async () => {
    const tests: [string, () => Promise<void>][] = [];
    await run(guideOf("testing").programs.get("Vitest")?.code ?? "", "undefined", {
      vitest: { __esModule: true, expect, test: (name: string, body: () => Promise<void>) => tests.push([name, body]) },
    });
    expect(tests).toHaveLength(3);
    for (const [, body] of tests) await body();
  });

  test("pages: the client's lines, against the server's", async () => {
    const guide = guideOf("pages");
    const { url } = await start(guide.programs.get("fetch"));
    const client = guide.samples.find(({ code }) => code.includes("EventSourceParserStream"));
    await run(client?.code ?? "", "undefined", {
      fetch: (path: string, init: RequestInit) => fetch(url + path, init),
    });
    expect(vi.mocked(console.log).mock.calls).toContainEqual(["token", '{"word":"blue?"}']);
  });

  test("pages: a POST whose connection is cut goes on after the last ID, until 204", async () => {
    const guide = guideOf("pages");
    const { url } = await start(guide.programs.get("fetch, with retry and resume"));
    const client = guide.samples.find(({ info }) => info === "browser resume");
    const requests: (string | undefined)[] = [];
    const fetchEvents = (await run(client?.code ?? "", "fetchEvents", {
      // A cut in the middle of the first answer, and no waiting.
      setTimeout: (resolve: () => void) => setImmediate(resolve),
      fetch: async (path: string, init: RequestInit & { headers: Record<string, string> }) => {
        requests.push(init.headers["Last-Event-ID"]);
        const response = await fetch(url + path, init);
        if (requests.length > 1 || response.body === null) return response;
        const cut = new TransformStream<Uint8Array, Uint8Array>({
          transform(chunk, controller) {
            controller.enqueue(chunk);
            if (Buffer.from(chunk).includes("id: 2")) controller.error(new TypeError("network error"));
          },
        });
        return new Response(response.body.pipeThrough(cut), response);
      },
    })) as (url: string, init: RequestInit) => AsyncIterable<{ id?: string; data: string }>;
    const rows: number[] = [];
    for await (const { data } of fetchEvents("/export", json({ rows: 4 }))) rows.push(JSON.parse(data).row as number);
    expect([...new Set(rows)]).toEqual([1, 2, 3, 4]);
    expect(rows).toHaveLength(4);
    expect(requests.at(-1)).toBe("4");
  });

  test("pages: listen gives each listener the data of its event, with its type", { timeout: 60_000 }, async () => {
    const code = guideOf("pages")
      .samples.filter(({ info }) => info === "browser typed")
      .map((sample) => sample.code)
      .join("\n");
    const dom = '/// <reference lib="dom" />\n';
    const problems = (program: string) => problemsOf(new Map([["typed", { code: dom + program, isTyped: true }]]));
    expect(problems(code)).toBe("");
    expect(problems(code.replace("{ name }", "{ text }"))).toContain("text");
    const source = new EventTarget();
    await run(code, "undefined", {
      EventSource: function () {
        return source;
      },
    });
    const data = JSON.stringify({ from: "Ada", text: "hi" });
    source.dispatchEvent(Object.assign(new Event("said"), { data, lastEventId: "1" }));
    expect(vi.mocked(console.log).mock.calls).toEqual([["1", "Ada", "hi"]]);
  });

  test.each([
    ["redis", "src/redis/options.ts", "RedisBrokerOptions"],
    ["postgres", "src/postgres/options.ts", "PostgresBrokerOptions"],
  ])("%s: its options are all there", (topic, file, name) => {
    const declared = new RegExp(`interface ${name} {([^]*?)\\n}`).exec(read(file))?.[1];
    const shown = guideOf(topic).rows("## Options");
    expect(shown.map(([option]) => option?.replaceAll("`", ""))).toEqual(declared?.match(/(?<=^ {2}readonly )\w+/gm));
  });

  test.each(["nginx.conf", "haproxy.cfg", "Caddyfile"])("proxies: %s is shown as it is tested", (file) => {
    expect(guideOf("proxies").samples.map(({ code }) => code)).toContain(read(`examples/proxies/${file}`));
  });

  test("examples: every example has a row", () => {
    const examples = guides.find(({ file }) => file === "examples/README.md") as Document;
    const files = readdirSync(`${root}examples`, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts") && !/^(?:demo|cluster)\//.test(file))
      .map((file) => `examples/${file}`);
    for (const file of [...files, "examples/cluster/start.ts"]) expect(examples.linkedFiles).toContain(file);
  });
});
