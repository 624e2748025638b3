import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import type { Server as HttpServer } from "node:http";
import { type AddressInfo, Server } from "node:net";
import { fileURLToPath } from "node:url";
import type { Express } from "express";
import * as library from "express-event-source";
import ts from "typescript";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { checkOptions } from "../src/settings.js";
import { headerList } from "../src/response/head.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (file: string) => readFileSync(root + file, "utf8");
const readme = read("README.md");

interface Sample {
  readonly section: string;
  readonly language: string;
  readonly info: string;
  readonly code: string;
  readonly line: number;
}

const samples: Sample[] = [...readme.matchAll(/^( *)```(\w+)(.*)\n([^]*?)^\1```$/gm)].map(
  ({ index, 1: indent = "", 2: language = "", 3: info = "", 4: code = "" }) => {
    const before = readme.slice(0, index);
    return {
      section:
        before
          .match(/^## .*$/gm)
          ?.at(-1)
          ?.slice(3) ?? "",
      language,
      info: info.trim(),
      code: code.replaceAll(new RegExp(`^${indent}`, "gm"), ""),
      line: before.split("\n").length,
    };
  },
);

const whole = samples.find(({ language }) => language === "js") as Sample;
const [prelude, ...fragments] = samples.filter(({ language }) => language === "ts") as [Sample, ...Sample[]];
const sections = [...new Set(fragments.map(({ section }) => section))];

/** What a reader has who pasted everything up to the end of a section, as the README says. */
const programOf = (section: string) =>
  [prelude, ...fragments.filter((sample) => sample.section === section)].map(({ code }) => code).join("\n");

/** The rows of the first table after a text, such as a heading. */
function rows(after: string): string[][] {
  const table = /(?:^\|.*\n)+/m.exec(readme.slice(readme.indexOf(after)))?.[0] ?? "";
  return table
    .trim()
    .split("\n")
    .slice(2)
    .map((row) =>
      row
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

const unquote = (cell: string | undefined) => cell?.replaceAll("`", "") ?? "";

describe("the samples", () => {
  test("the first is a whole server and its page, before line 25, in ten lines and the page's", () => {
    expect(whole.line).toBeLessThan(25);
    const route = /^app\.get\("\/",[^]*?^}\);\n/m;
    expect(whole.code).toMatch(route);
    expect(
      whole.code
        .replace(route, "")
        .split("\n")
        .filter((line) => /\w/.test(line)).length,
    ).toBeLessThanOrEqual(10);
  });

  // A compiler that reads the types of Redis, Vitest and Express takes its time.
  test("compile as they stand", { timeout: 120_000 }, () => {
    const programs = new Map(
      [["whole", whole.code], ...sections.map((section) => [section, programOf(section)] as const)].map(
        ([name, code]) => [`${root}readme-${name.replaceAll(/\W/g, "-")}.ts`, code],
      ),
    );
    const { options } = ts.parseJsonConfigFileContent(
      ts.readConfigFile(`${root}tsconfig.json`, (file) => ts.sys.readFile(file)).config,
      ts.sys,
      root,
    );
    Object.assign(options, { noUnusedLocals: false, noUnusedParameters: false });
    const disk = ts.createCompilerHost(options);
    const host: ts.CompilerHost = {
      ...disk,
      fileExists: (file) => programs.has(file) || disk.fileExists(file),
      readFile: (file) => programs.get(file) ?? disk.readFile(file),
      getSourceFile: (file, language) => {
        const code = programs.get(file);
        return code === undefined ? disk.getSourceFile(file, language) : ts.createSourceFile(file, code, language);
      },
    };
    const program = ts.createProgram([...programs.keys()], options, host);
    const problems = [...programs.keys()].flatMap((file) => {
      const source = program.getSourceFile(file);
      return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
    });
    expect(ts.formatDiagnostics(problems, host)).toBe("");
  });

  test.each(samples.filter(({ language }) => language === "js"))(
    "the JavaScript on line $line is JavaScript",
    ({ code }) => {
      const { diagnostics } = ts.transpileModule(code, {
        fileName: "sample.js",
        reportDiagnostics: true,
        compilerOptions: { allowJs: true, target: ts.ScriptTarget.ES2022 },
      });
      expect(diagnostics).toEqual([]);
    },
  );
});

/** Runs TypeScript or JavaScript; what it imports is loaded before, what it names beyond that is in `globals`. Resolves with its `result`. */
async function run(code: string, result: string, globals: Record<string, unknown> = {}): Promise<unknown> {
  const { outputText } = ts.transpileModule(code, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.CommonJS, esModuleInterop: true },
  });
  const modules = new Map<string, object>();
  for (const [, name = ""] of outputText.matchAll(/require\("(.*?)"\)/g)) {
    modules.set(name, {
      ...(name === "express-event-source" ? library : ((await import(/* @vite-ignore */ name)) as object)),
      __esModule: true,
    });
  }
  const names = { require: (name: string) => globals[name] ?? modules.get(name), exports: {}, ...globals };
  const identifiers = Object.keys(names).filter((name) => /^\w+$/.test(name));
  const values = identifiers.map((name) => names[name as keyof typeof names]);
  return (
    new AsyncFunction(...identifiers, `${outputText}\nreturn ${result};`) as (...values: unknown[]) => Promise<unknown>
  )(...values);
}

const AsyncFunction = (async () => {}).constructor as FunctionConstructor;

type Ask = (path: string, init?: RequestInit & { enough?: string }) => Promise<{ status: number; text: string }>;

/** What shows that a section's samples do what they say. */
const proofs: Record<string, (ask: Ask) => Promise<void>> = {
  "In the browser": async (ask) => {
    const { text } = await ask("/chat", json({ prompt: "Why blue" }));
    expect(text).toBe('event: token\ndata: {"word":"Why"}\n\nevent: token\ndata: {"word":"blue"}\n\n');
  },
  Sources: async (ask) => {
    expect((await ask("/users/7/log", { enough: "\n\n" })).text).toBe("data: line 0 of 7\n\n");
    expect((await ask("/report")).status).toBe(401);
    expect((await ask("/report", { headers: { Authorization: "me" } })).text).toBe("data: first\n\ndata: second\n\n");
    expect((await ask("/rows")).text).toMatch(/^id: 1\ndata: {"row":1}\n\n[^]*id: 10000\ndata: {"row":10000}\n\n$/);
  },
  "When the iterable ends": async (ask) => {
    expect((await ask("/numbers/1/2")).text).toBe("id: 1\ndata: 1\n\nid: 2\ndata: 2\n\n");
    expect((await ask("/numbers/1/2", { headers: { "Last-Event-ID": "2" } })).status).toBe(204);
  },
  Options: async (ask) => {
    expect((await ask("/prices", { enough: "data" })).text).toMatch(
      /^retry: \d+\n\nevent: price\ndata: \d+\.\d\d\n\n$/,
    );
  },
  "The stream object": async (ask) => {
    expect((await ask("/news", { enough: "\n\n" })).text).toBe("data: news\n\n");
  },
  Errors: async (ask) => {
    expect((await ask("/told")).text).toBe(
      'data: line 1\n\nevent: failure\ndata: {"message":"The report could not be finished."}\n\n',
    );
  },
  Brokers: async (ask) => {
    const said = JSON.parse((await ask("/rooms/7", json({ from: "anna", text: "hi" }))).text) as { id: string };
    await ask("/rooms/7", json({ from: "bert", text: "hello" }));
    const missed = { headers: { "Last-Event-ID": said.id }, enough: "\n\n" };
    const { text } = await ask("/rooms/7", missed);
    expect(text).toMatch(/^id: .*\nevent: message\ndata: {"from":"bert","text":"hello"}\n\n$/);
    expect((await ask("/rooms/7/others", missed)).text).toBe(text);
    expect((await ask("/rooms/7", { headers: { "Last-Event-ID": "made-up" }, enough: "hello" })).text).toContain(
      'event: gap\ndata: {"lastEventId":"made-up"}\n\n',
    );
    expect((await ask("/rooms/7/greeted", { enough: "\n\n" })).text).toBe("id: hello\nevent: hello\ndata: \n\n");
    expect((await ask("/rooms/7/greeted", { headers: { "Last-Event-ID": "hello" }, enough: "hi" })).text).toMatch(
      /^event: gap\n/,
    );
    expect((await ask("/inbox")).status).toBe(401);
    expect((await ask("/answers/1", json({}))).status).toBe(202);
    expect((await ask("/answers/1")).text).toMatch(/data: It \n[^]*data: scatters\.\n/);
    expect((await ask("/answers/1", json({}))).status).toBe(202);
  },
  "In production": async (ask) => {
    expect((await ask("/compressed")).text).toBe("data: text\n\n");
  },
  Metrics: async (ask) => {
    expect((await ask("/metrics")).text).toContain("sse_streams_open 0\n");
  },
  Migrating: async (ask) => {
    expect((await ask("/stream", { enough: "\n\n" })).text).toBe("data: first\n\n");
    expect((await ask("/time", { enough: "\n\n" })).text).toMatch(/^data: \d+\n\n$/);
  },
};

const json = (body: object) => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});

describe("run, as they stand", () => {
  const servers: HttpServer[] = [];
  const listen = Object.getOwnPropertyDescriptor(Server.prototype, "listen")?.value as () => HttpServer;

  beforeEach(() => {
    // Whatever port they ask for, they get a free one.
    vi.spyOn(Server.prototype, "listen").mockImplementation(function (this: HttpServer, _port, ...rest: unknown[]) {
      servers.push(this);
      return Reflect.apply(listen, this, [0, ...rest.filter((value) => typeof value === "function")]);
    });
    vi.spyOn(console, "log").mockImplementation(() => {});
    vi.spyOn(console, "error").mockImplementation(() => {});
    vi.spyOn(process, "once").mockImplementation(() => process);
  });

  afterEach(() => {
    for (const server of servers.splice(0)) {
      server.close();
      server.closeAllConnections();
    }
    vi.restoreAllMocks();
  });

  const askOf =
    (server: HttpServer): Ask =>
    async (path, { enough, ...init } = {}) => {
      const leave = new AbortController();
      const response = await fetch(`http://localhost:${(server.address() as AddressInfo).port}${path}`, {
        ...init,
        signal: leave.signal,
      });
      let text = "";
      for await (const chunk of response.body ?? []) {
        text += Buffer.from(chunk).toString("utf8");
        if (enough !== undefined && text.includes(enough)) break;
      }
      leave.abort();
      return { status: response.status, text };
    };

  async function start(section: string, globals?: Record<string, unknown>): Promise<HttpServer> {
    const app = (await run(programOf(section), "app", globals)) as Express;
    const server = app.listen(0);
    await once(server, "listening");
    return server;
  }

  test("the first", async () => {
    await run(whole.code, "undefined");
    const [server] = servers as [HttpServer];
    await once(server, "listening");
    const ask = askOf(server);
    expect((await ask("/")).text).toContain('new EventSource("/numbers")');
    expect((await ask("/numbers", { enough: "\n\n" })).text).toBe('id: 1\ndata: {"n":1}\n\n');
    expect((await ask("/numbers", { headers: { "Last-Event-ID": "3" }, enough: "\n\n" })).text).toBe(
      'id: 4\ndata: {"n":4}\n\n',
    );
    expect((await ask("/numbers", { headers: { "Last-Event-ID": "5" } })).status).toBe(204);
  });

  test("every section has a proof", () => {
    const elsewhere = ["", "Events", "Redis", "Testing"];
    expect([...Object.keys(proofs), ...elsewhere].sort()).toEqual([...new Set(["", ...sections])].sort());
  });

  test.each(Object.keys(proofs))("%s", async (section) => {
    await proofs[section]?.(askOf(await start(section)));
  });

  test("the client's lines, against the server's", async () => {
    const server = await start("In the browser");
    const fetchFrom = (path: string, init: RequestInit) =>
      fetch(`http://localhost:${(server.address() as AddressInfo).port}${path}`, init);
    const client = samples.find(({ code }) => code.includes("EventSourceParserStream")) as Sample;
    await run(client.code, "undefined", { fetch: fetchFrom });
    expect(vi.mocked(console.log).mock.calls).toContainEqual(["token", '{"word":"blue?"}']);
  });

  test("Events", async () => {
    const shown = fragments.find(({ section }) => section === "Events") as Sample;
    const [, call = "", frame = ""] = /^(.*\));? \/\/ (.*)$/m.exec(shown.code) ?? [];
    expect(await run(`${prelude.code}\nconst encoded = ${call};`, "encoded")).toBe(await run("", frame));
  });

  test("Testing: its own tests pass", async () => {
    const tests: [string, () => Promise<void>][] = [];
    await run(programOf("Testing"), "undefined", {
      vitest: { __esModule: true, expect, test: (name: string, body: () => Promise<void>) => tests.push([name, body]) },
    });
    expect(tests).toHaveLength(3);
    for (const [, body] of tests) await body();
  });
});

describe("what it says of the code", () => {
  test("the options are those of eventSource, with their defaults", async () => {
    const { ping, ...defaults } = checkOptions({});
    const shown = Object.fromEntries(
      rows("## Options").map(([name, value]) => [unquote(name), value === "–" ? undefined : unquote(value)]),
    );
    const values = { ...defaults, ping: ping(), headers: undefined };
    expect(Object.keys(shown).sort()).toEqual(Object.keys(values).sort());
    for (const [name, value] of Object.entries(shown)) {
      expect(await run("", `(${value})`), name).toEqual(values[name as keyof typeof values]);
    }
    expect(defaults.headers).toEqual(headerList({}));
  });

  test("the options of redisBroker are all there", () => {
    const declared = /interface RedisBrokerOptions {([^]*?)\n}/
      .exec(read("src/redis/redis-broker.ts"))?.[1]
      ?.match(/(?<=readonly )\w+/g);
    expect(rows("| option | default | |\n").map(([name]) => unquote(name))).toEqual(declared);
  });

  test("the types it names are those of the front door", () => {
    const exported = new Set(read("src/index.ts").match(/\b[A-Z]\w+/g));
    exported.delete("EventStreamError");
    const named = /Types, for your own functions:([^]*?)\n\n/.exec(readme)?.[1]?.match(/\w+(?=`)/g);
    expect(named?.sort()).toEqual([...exported].sort());
  });

  test("the codes are those of EventStreamError", () => {
    const codes = read("src/errors.ts").match(/(?<=\| ")ERR_\w+/g);
    expect(rows("| `code` |").map(([code]) => unquote(code))).toEqual(codes);
  });

  test("the reasons are those of CloseReason", () => {
    const reasons = /type CloseReason =([^]*?);/.exec(read("src/options.ts"))?.[1]?.match(/(?<=\| ")\w+/g);
    expect(rows("| `reason` |").map(([reason]) => unquote(reason))).toEqual(reasons);
  });

  test("the properties are those of EventStream and ServerSentEvent", () => {
    const declared = (file: string) =>
      /^export interface [^]*?^\}/m
        .exec(read(file))?.[0]
        .match(/(?<=^ {2}readonly )\w+/gm)
        ?.sort();
    expect(
      rows("## The stream object")
        .map(([name]) => unquote(name))
        .sort(),
    ).toEqual(declared("src/source/event-stream.ts"));
    expect(
      rows("## Events")
        .map(([name]) => unquote(name))
        .sort(),
    ).toEqual(declared("src/format/event.ts"));
  });

  test.each(["nginx.conf", "haproxy.cfg", "Caddyfile"])("%s is shown as it is tested", (file) => {
    expect(samples.map(({ code }) => code)).toContain(read(`examples/proxies/${file}`));
  });

  test("the versions it compares with are those of the bench", () => {
    const { dependencies } = JSON.parse(read("test/bench/package.json")) as { dependencies: Record<string, string> };
    for (const name of ["better-sse", "@fastify/sse", "hono", "h3"]) {
      expect(readme.toLowerCase()).toContain(`| ${name} ${dependencies[name]}`);
    }
  });

  test("the scripts it names are there, and it names all", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    delete scripts.prepack;
    const named = [...readme.matchAll(/`npm (?:run )?([\w:]+)`/g)].map(([, name]) => name);
    expect([...new Set(named)].sort()).toEqual(Object.keys(scripts).sort());
  });
});

describe("its links", () => {
  const links = [...readme.matchAll(/\]\((?!https?:)([^)]+)\)/g)].map(([, link = ""]) => link);

  test("lead to headings that are there", () => {
    const anchors = [...readme.matchAll(/^#+ (.*)$/gm)].map(
      ([, heading = ""]) =>
        `#${heading
          .toLowerCase()
          .replaceAll(/[^\w -]/g, "")
          .replaceAll(" ", "-")}`,
    );
    for (const link of links.filter((link) => link.startsWith("#"))) expect(anchors).toContain(link);
  });

  test("lead to files that are there", () => {
    for (const link of links.filter((link) => !link.startsWith("#"))) expect(existsSync(root + link), link).toBe(true);
  });

  test("lead to every example", () => {
    const files = ["", "basic/", "advanced/", "push/", "faults/", "broker/", "metrics/"].flatMap((folder) =>
      readdirSync(`${root}examples/${folder}`)
        .filter((file) => file.endsWith(".ts"))
        .map((file) => `examples/${folder}${file}`),
    );
    files.push("examples/cluster/start.ts");
    for (const file of files) expect(links).toContain(file);
  });

  test("lead to every chapter from its contents", () => {
    const chapters = [...readme.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading);
    const contents = [...(/\*\*Contents:\*\*([^]*?)\n\n/.exec(readme)?.[1] ?? "").matchAll(/\[(.*?)\]/g)].map(
      ([, text]) => text,
    );
    expect(contents).toEqual(chapters);
  });
});
