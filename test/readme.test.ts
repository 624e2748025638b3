import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { compileFunction } from "node:vm";
import type { Express } from "express";
import * as library from "express-event-source";
import { describe, expect, test, vi } from "vitest";
import { headerList } from "../src/response/head.js";
import { checkOptions } from "../src/options.js";
import { Document, type Program, root, type Sample } from "./support/document.js";
import { type Ask, json, problemsOf, run, sampleStage, stageOf, syntaxErrors } from "./support/samples.js";

const read = (file: string) => readFileSync(root + file, "utf8");
const readme = new Document("README.md");
const { programs, prelude } = readme;
const sampleOf = (info: string) => readme.samples.find((sample) => sample.info === info) as Sample;
const whole = sampleOf("whole");
const unquote = (cell: string | undefined) => cell?.replaceAll("`", "") ?? "";

test("it is read in a quarter of an hour: 400 lines at most", () => {
  expect(readme.text.trimEnd().split("\n").length).toBeLessThanOrEqual(400);
});

describe("the samples", () => {
  test("the first is a whole server and its page, before line 25, in ten lines and the page's", () => {
    expect(whole.line).toBeLessThan(25);
    const route = /^app\.get\("\/",[^]*?^}\);\n/m;
    expect(whole.code).toMatch(route);
    const rest = whole.code.replace(route, "");
    expect(rest.split("\n").filter((line) => /\w/.test(line)).length).toBeLessThanOrEqual(10);
  });

  // A compiler that reads the types of Redis, Vitest and Express takes its time.
  test("compile as they stand", { timeout: 120_000 }, () => {
    const compiled = new Map<string, Program>([...programs, ["whole", { code: whole.code, isTyped: false }]]);
    expect(problemsOf(compiled)).toBe("");
  });

  test.each(readme.samples.filter(({ language }) => language === "js"))(
    "the JavaScript on line $line is JavaScript",
    ({ code }) => {
      expect(syntaxErrors(code)).toEqual([]);
    },
  );
});

/** A measured figure, with as many decimals as the one that is shown, or as many noughts. */
function roundedAs(shown: string, measured: string): string {
  const decimals = shown.split(".")[1]?.length ?? 0;
  const unit = decimals === 0 && shown.endsWith("0") ? 10 : 10 ** -decimals;
  const value = Math.round(Number(measured) / unit) * unit;
  return Number.isNaN(value) ? measured : value.toFixed(decimals);
}

/** What shows that a section's samples do what they say. */
const proofs: Record<string, (ask: Ask) => Promise<void>> = {
  Sources: async (ask) => {
    expect((await ask("/users/7/log", { enough: "\n\n" })).text).toBe("data: line 0 of 7\n\n");
  },
  Errors: async (ask) => {
    expect((await ask("/told")).text).toBe(
      'data: line 1\n\nevent: failure\ndata: {"message":"The report could not be finished."}\n\n',
    );
  },
  "LLM answers": async (ask) => {
    expect((await ask("/answers/1", json({ prompt: "Why blue?" }))).status).toBe(202);
    const { text } = await ask("/answers/1");
    expect(text).toMatch(
      /^id: .*\nevent: token\ndata: {"word":"Why"}\n\nid: .*\nevent: token\ndata: {"word":"blue\?"}\n\n$/,
    );
    const [last] = text.match(/(?<=id: ).*/g)?.slice(-1) ?? [];
    expect((await ask("/answers/1", { headers: { "Last-Event-ID": last ?? "" } })).status).toBe(204);
    expect((await ask("/answers/1", json({ prompt: "again" }))).status).toBe(202);
    expect((await ask("/answers/1")).text).toBe(text);
    expect((await ask("/answers/1", { method: "DELETE" })).text).toBe('{"stopped":false}');
  },
  Brokers: async (ask) => {
    const said = JSON.parse((await ask("/rooms/7", json({ from: "anna", text: "hi" }))).text) as { id: string };
    await ask("/rooms/7", json({ from: "bert", text: "hello" }));
    const { text } = await ask("/rooms/7", { headers: { "Last-Event-ID": said.id }, enough: "\n\n" });
    expect(text).toMatch(/^id: .*\nevent: message\ndata: {"from":"bert","text":"hello"}\n\n$/);
    expect((await ask("/rooms/7", { headers: { "Last-Event-ID": "made-up" }, enough: "hello" })).text).toContain(
      'event: gap\ndata: {"lastEventId":"made-up"}\n\n',
    );
  },
};

describe("run, as they stand", () => {
  const { start, servers } = sampleStage();

  test("the first", async () => {
    await run(whole.code, "undefined");
    const { ask } = await stageOf(servers[0]!);
    expect((await ask("/")).text).toContain('new EventSource("/numbers")');
    expect((await ask("/numbers", { enough: "\n\n" })).text).toBe('id: 1\ndata: {"n":1}\n\n');
    expect((await ask("/numbers", { headers: { "Last-Event-ID": "3" }, enough: "\n\n" })).text).toBe(
      'id: 4\ndata: {"n":4}\n\n',
    );
    expect((await ask("/numbers", { headers: { "Last-Event-ID": "5" } })).status).toBe(204);
  });

  test("the one that requires", async () => {
    const require = (name: string) =>
      name === "express-event-source" ? library : createRequire(import.meta.url)(name);
    compileFunction(sampleOf("cjs").code, ["require"])(require);
    const { ask } = await stageOf(servers[0]!);
    expect((await ask("/")).text).toBe("data: first\n\ndata: second\n\n");
  });

  test("every section has a proof", () => {
    expect([...Object.keys(proofs), "Events"].sort()).toEqual([...programs.keys()].sort());
  });

  test.each(Object.keys(proofs))("%s", async (section) => {
    await proofs[section]?.((await start(programs.get(section))).ask);
  });

  test("arrays, as events.on yields them, become events through toEvent", async () => {
    const { code } = programs.get("Sources") as Program;
    const { app, prices } = (await run(code, "{ app, prices }")) as {
      app: Express;
      prices: NodeJS.EventEmitter;
    };
    const { ask } = await stageOf(app.listen(0));
    const timer = setInterval(() => prices.emit("price", 9), 5);
    const { text } = await ask("/prices", { enough: "\n\n" });
    clearInterval(timer);
    expect(text).toMatch(/^event: price\ndata: {"euros":9}\n\n/);
  });

  test("Events", async () => {
    const shown = readme.samples.find(({ section, language }) => section === "Events" && language === "js") as Sample;
    const [, call = "", frame = ""] = /^(.*\));? \/\/ (.*)$/m.exec(shown.code) ?? [];
    expect(await run(`${prelude}\nconst encoded = ${call};`, "encoded")).toBe(await run("", frame));
  });

  test("the client's lines, against the first server", async () => {
    await run(whole.code, "undefined");
    const { ask } = await stageOf(servers[0]!);
    const { text } = await ask("/numbers", { enough: "\n\n" });
    const sources: { onmessage?: (event: object) => void; addEventListener: () => void }[] = [];
    class EventSource {
      constructor(readonly path: string) {
        sources.push(this);
      }
      addEventListener() {}
    }
    await run(sampleOf("browser").code, "undefined", { EventSource });
    sources[0]?.onmessage?.({ data: /data: (.*)/.exec(text)?.[1], lastEventId: "1" });
    expect(vi.mocked(console.log).mock.calls).toEqual([["1", { n: 1 }]]);
  });
});

describe("what it says of the code", () => {
  test("the options are those of eventSource, with their defaults", async () => {
    const { ping, ...defaults } = checkOptions({});
    const shown = Object.fromEntries(
      readme.rows("## Options").map(([name, value]) => [unquote(name), value === "–" ? undefined : unquote(value)]),
    );
    const values = { ...defaults, ping: ping(), headers: undefined };
    expect(Object.keys(shown).sort()).toEqual(Object.keys(values).sort());
    for (const [name, value] of Object.entries(shown)) {
      expect(await run("", `(${value})`), name).toEqual(values[name as keyof typeof values]);
    }
    expect(defaults.headers).toEqual(headerList());
  });

  test("the signatures are those of the library", { timeout: 120_000 }, () => {
    const { code } = sampleOf("signatures");
    const types = [...new Set(code.replaceAll(/\/\/.*/g, "").match(/\b[A-Z]\w+/g))].filter(
      (name) => !/^(RequestHandler|RedisBrokerOptions|PostgresBroker\w*)$/.test(name),
    );
    const names = [...code.matchAll(/declare function (\w+)/g)].map(([, name]) => name);
    const check = `
      import type { RequestHandler } from "express";
      import type { ${types.filter((name) => !["Exclude", "Promise"].includes(name)).join(", ")} } from "express-event-source";
      import type { RedisBrokerOptions } from "express-event-source/redis";
      import type { PostgresBroker, PostgresBrokerOptions } from "express-event-source/postgres";
      import * as library from "express-event-source";
      import { redisBroker as itsRedisBroker } from "express-event-source/redis";
      import { postgresBroker as itsPostgresBroker, postgresSchema as itsPostgresSchema } from "express-event-source/postgres";
      ${code}
      ${names
        .map((name) => {
          const its = /redis|postgres/.test(name ?? "")
            ? `its${name?.[0]?.toUpperCase()}${name?.slice(1)}`
            : `library.${name}`;
          // Called as it is shown: a function with overloads is assignable only by its last one.
          return `export const ${name}AsShown: typeof ${name} = (...args) => ${its}(...args);`;
        })
        .join("\n")}`;
    expect(problemsOf(new Map([["signatures", { code: check, isTyped: true }]]))).toBe("");
    expect(names.sort()).toEqual(
      [
        ...Object.keys(library).filter((name) => name !== "EventStreamError"),
        "redisBroker",
        "postgresBroker",
        "postgresSchema",
      ].sort(),
    );
  });

  test("the methods of a broker are those of its interface, with these signatures", { timeout: 120_000 }, () => {
    const { code } = sampleOf("broker");
    const declared = /export interface Broker<[^]*?^}/m.exec(read("src/broker/broker.ts"))?.[0];
    const methods = (text: string | undefined) => text?.match(/(?<=^ {2})\w+(?=[(<])/gm)?.sort();
    expect(methods(code)).toEqual(methods(declared));
    const check = `
      import type { ProduceOptions, Production, PublishedEvent, ServerSentEvent, SubscribeOptions } from "express-event-source";
      import { memoryBroker } from "express-event-source";
      ${code.replace("interface Broker", "interface Shown")}
      export const shown: Shown = memoryBroker();`;
    expect(problemsOf(new Map([["broker", { code: check, isTyped: true }]]))).toBe("");
  });

  test("the types it names are those of the front door", () => {
    const exported = new Set(read("src/index.ts").match(/\b[A-Z]\w+/g));
    exported.delete("EventStreamError");
    const named = /Types, for your own functions:([^]*?)\. /.exec(readme.text)?.[1]?.match(/\w+(?=`)/g);
    expect(named?.sort()).toEqual([...exported].sort());
  });

  test("the codes are those of EventStreamError", () => {
    const codes = read("src/errors.ts").match(/(?<=\| ")ERR_\w+/g);
    const shown = new Document("examples/troubleshooting/README.md").rows("| `code` |");
    expect(shown.map(([code]) => unquote(code))).toEqual(codes);
  });

  test("the reasons are those of CloseReason", () => {
    const reasons = /type CloseReason =([^]*?);/.exec(read("src/options.ts"))?.[1]?.match(/(?<=\| ")\w+/g);
    expect(readme.rows("| `reason` |").map(([reason]) => unquote(reason))).toEqual(reasons);
  });

  test("the properties are those of EventStream and ServerSentEvent", () => {
    const declared = (file: string) =>
      /^export interface [^]*?^\}/m
        .exec(read(file))?.[0]
        .match(/(?<=^ {2}readonly )\w+/gm)
        ?.sort();
    const shown = (after: string) =>
      readme
        .rows(after)
        .map(([name]) => unquote(name))
        .sort();
    expect(shown("| property |")).toEqual(declared("src/source/event-stream.ts"));
    expect(shown("## Events")).toEqual(declared("src/format/event.ts"));
  });

  test("the versions it compares with are those of the bench", () => {
    const { dependencies } = JSON.parse(read("test/bench/package.json")) as { dependencies: Record<string, string> };
    for (const name of ["better-sse", "@fastify/sse", "hono", "h3"]) {
      expect(readme.text.toLowerCase()).toContain(`| ${name} ${dependencies[name]}`);
    }
  });

  test("the figures of speed are those that the bench's README has measured", () => {
    const measured = new Document("test/bench/README.md").rows("| | ours | loop |");
    const ratios = (row: string) =>
      measured
        .find(([name]) => name === row)
        ?.slice(1)
        .map((cell) => cell.split(" / ")[0]) ?? [];
    const blocks = (measured.find(([name]) => name?.startsWith("longest block")) ?? []).slice(1);
    const expected: Record<string, (string | undefined)[][]> = {
      "one stream at full speed, 50 streams": [ratios("one stream"), ratios("50 streams")],
      "one stream of tokens, as strings": [ratios("one stream of tokens")],
      "one event to 5,000 clients, until the last one has it": [ratios("fan-out, 5,000 clients")],
      "clients that connect and leave at once": [ratios("churn")],
      "longest block of the event loop by 50 ready streams": [blocks.map((cell) => cell.split(" / ")[1])],
    };
    const shown = readme.rows("| | here | a loop by hand |").filter(([name]) => !name?.startsWith("memory"));
    expect(shown.map(([name]) => name)).toEqual(Object.keys(expected));
    for (const [name = "", ...cells] of shown) {
      const figures = cells.map((cell) => cell.replace(" ms", "").split(", "));
      const rounded = cells.map((_, column) =>
        expected[name]?.map((row, index) => roundedAs(figures[column]?.[index] ?? "", row[column] ?? "")),
      );
      expect(figures, name).toEqual(rounded);
    }
  });

  test("the scripts are all named, here or where the work on it is described", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    delete scripts.prepack;
    const named = [...(readme.text + read("test/README.md")).matchAll(/`npm (?:run )?([\w:]+)`/g)].map(
      ([, name]) => name,
    );
    expect([...new Set(named)].sort()).toEqual(Object.keys(scripts).sort());
  });
});

describe("its links", () => {
  test("lead to headings and files that are there", () => {
    expect(readme.brokenLinks).toEqual([]);
  });

  test("lead to every guide", () => {
    const guides = readdirSync(`${root}examples`, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith("README.md"))
      .map((file) => `examples/${file}`);
    for (const guide of [...guides, "test/README.md"]) expect(readme.linkedFiles).toContain(guide);
  });

  test("lead to every chapter from its contents", () => {
    const chapters = [...readme.text.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading);
    const contents = [...(/\*\*Contents:\*\*([^]*?)\n\n/.exec(readme.text)?.[1] ?? "").matchAll(/\[(.*?)\]/g)];
    expect(contents.map(([, text]) => text)).toEqual(chapters);
  });
});
