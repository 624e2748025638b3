import { readdirSync, readFileSync } from "node:fs";
import { OutgoingMessage, ServerResponse } from "node:http";
import { posix } from "node:path";
import { fileURLToPath } from "node:url";
import * as front from "express-event-source";
import * as postgresDoor from "express-event-source/postgres";
import * as redisDoor from "express-event-source/redis";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const src = fileURLToPath(new URL("../src/", import.meta.url));

interface Source {
  readonly text: string;
  /** The sources it imports or exports from, as paths below src/; types count too. */
  readonly files: readonly string[];
  /** The packages and Node modules it imports. */
  readonly packages: readonly string[];
}

function read(name: string): Source {
  const text = readFileSync(src + name, "utf8");
  const specifiers = ts.preProcessFile(text).importedFiles.map(({ fileName }) => fileName);
  return {
    text,
    files: specifiers
      .filter((specifier) => specifier.startsWith("."))
      .map((specifier) => posix.join(posix.dirname(name), specifier).replace(/\.js$/, ".ts")),
    packages: specifiers.filter((specifier) => !specifier.startsWith(".")),
  };
}

const sources = new Map(
  readdirSync(src, { recursive: true, encoding: "utf8" })
    .map((name) => name.replaceAll("\\", "/"))
    .filter((name) => name.endsWith(".ts"))
    .map((name) => [name, read(name)]),
);

/** From the doors down. A folder is one floor; rooms of one floor may know each other, without a circle. */
const floors: readonly (readonly string[])[] = [
  ["index.ts", "redis.ts", "postgres.ts"],
  ["event-source.ts"],
  ["stream/"],
  ["options.ts"],
  ["memory/", "redis/", "postgres/"],
  ["source/", "response/", "broker/"],
  ["format/", "runtime/"],
  ["checks.ts"],
  ["errors.ts"],
];

const roomOf = (name: string): string => (name.includes("/") ? name.slice(0, name.indexOf("/") + 1) : name);
const floorOf = (name: string): number => floors.findIndex((rooms) => rooms.includes(roomOf(name)));

/** Every import that `isBad` finds, as `a.ts → b.ts`. */
function imports(isBad: (from: string, to: string) => boolean): string[] {
  return [...sources].flatMap(([from, { files }]) =>
    files.filter((to) => isBad(from, to)).map((to) => `${from} → ${to}`),
  );
}

describe("the imports", () => {
  it("name files that are there, each with a place on a floor", () => {
    expect(sources.size).toBeGreaterThan(10);
    expect(imports((_from, to) => !sources.has(to))).toEqual([]);
    expect([...sources.keys()].filter((name) => floorOf(name) === -1)).toEqual([]);
  });

  it("run strictly downward", () => {
    expect(imports((from, to) => floorOf(to) < floorOf(from))).toEqual([]);
  });

  it("never join what sends with what fans out", () => {
    const fansOut = (name: string): boolean => ["broker/", "memory/", "redis/", "postgres/"].includes(roomOf(name));
    expect(imports((from, to) => fansOut(from) && roomOf(to) === "response/")).toEqual([]);
    expect(imports((from, to) => roomOf(from) === "response/" && fansOut(to))).toEqual([]);
    const known = new Set(["index.ts", "redis.ts", "postgres.ts", "broker/", "memory/", "redis/", "postgres/"]);
    expect(imports((from, to) => fansOut(to) && !known.has(roomOf(from)))).toEqual([]);
    for (const store of ["redis", "postgres"]) {
      const isForeign = (name: string): boolean => ![`${store}.ts`, `${store}/`].includes(roomOf(name));
      expect(imports((from, to) => roomOf(to) === `${store}/` && isForeign(from))).toEqual([]);
    }
  });

  it("go in no circle, types included", () => {
    const circles: string[] = [];
    const done = new Set<string>();
    const walk = (name: string, path: readonly string[]): void => {
      if (path.includes(name)) circles.push([...path.slice(path.indexOf(name)), name].join(" → "));
      if (path.includes(name) || done.has(name)) return;
      for (const next of sources.get(name)?.files ?? []) walk(next, [...path, name]);
      done.add(name);
    };
    for (const name of sources.keys()) walk(name, []);
    expect(circles).toEqual([]);
  });

  it("need no package but the peers, and those as types", () => {
    const foreign = [...sources].flatMap(([name, { packages }]) =>
      packages.filter((module) => !module.startsWith("node:")).map((module) => `${roomOf(name)} ${module}`),
    );
    expect(foreign.filter((use) => !/ express$|^redis\/ redis$/.test(use))).toEqual([]);
    const runtime = [...sources].flatMap(([name, { text }]) =>
      [...text.matchAll(/^(?:import|export)(?! type).* from "(express|redis|pg|@electric-sql\/pglite)";$/gm)].map(
        ([line]) => `${name}: ${line}`,
      ),
    );
    expect(runtime).toEqual([]);
  });
});

describe("Node's response", () => {
  /** Properties that an object of this library never has, so that whoever asks for one has a response before it. */
  const properties = new Set(
    [OutgoingMessage.prototype, ServerResponse.prototype]
      .flatMap((prototype) => Object.getOwnPropertyNames(prototype))
      .concat("statusCode", "statusMessage", "chunkedEncoding", "shouldKeepAlive", "closed", "destroyed")
      .filter(
        (name) =>
          !["constructor", "write", "end", "destroy", "pipe", "connection", "socket", "setTimeout"].includes(name),
      ),
  );

  /** The places where a source looks at a response, or changes it. One that hands it on as a value knows nothing of it. */
  function usesOfResponse(text: string): string[] {
    const uses: string[] = [];
    const visit = (node: ts.Node): void => {
      if (ts.isImportSpecifier(node) && /^(?:ServerResponse|OutgoingMessage)$/.test(node.getText()))
        uses.push(node.getText());
      const name = ts.isPropertyAccessExpression(node) ? node.name.text : undefined;
      const isOfResponse =
        ts.isPropertyAccessExpression(node) && /^(?:.*[.#])?res(?:ponse)?!?$/.test(node.expression.getText());
      const key = ts.isBindingElement(node) ? (node.propertyName ?? node.name).getText() : name;
      if (isOfResponse || (key !== undefined && properties.has(key))) uses.push(node.getText());
      ts.forEachChild(node, visit);
    };
    visit(ts.createSourceFile("source.ts", text, ts.ScriptTarget.ES2022, true));
    return uses;
  }

  it("is known to response/ alone", () => {
    const uses = [...sources].flatMap(([name, { text }]) =>
      roomOf(name) === "response/" ? [] : usesOfResponse(text).map((use) => `${name}: ${use}`),
    );
    expect(uses).toEqual([]);
  });

  it("would be noticed elsewhere", () => {
    expect(usesOfResponse("this.#res.once('close', f); stream.response.locals; res?.end()")).toHaveLength(3);
    expect(
      usesOfResponse("const { headersSent } = answer; given.flushHeaders?.(); (r as X).statusCode = 1"),
    ).toHaveLength(3);
    expect(usesOfResponse('import type { ServerResponse } from "node:http";')).toHaveLength(1);
    expect(usesOfResponse("announce('open', { request, response }); new Connection(req, res)")).toEqual([]);
    const all = [...sources].filter(([name]) => roomOf(name) === "response/");
    expect(all.flatMap(([, { text }]) => usesOfResponse(text)).length).toBeGreaterThan(50);
  });
});

describe("the format room", () => {
  it("knows nothing of Node", () => {
    for (const [name, { text, packages }] of sources) {
      if (roomOf(name) !== "format/") continue;
      expect(packages, name).toEqual([]);
      expect(text, name).not.toMatch(/\b(?:Buffer|process|NodeJS|ServerResponse)\b/);
    }
  });
});

describe("every source", () => {
  it("has at most 240 lines", () => {
    const long = [...sources]
      .map(([name, { text }]) => `${name}: ${text.split("\n").length - 1}`)
      .filter((line) => Number(line.split(": ")[1]) > 240);
    expect(long).toEqual([]);
  });

  it("leaves the process's own events alone", () => {
    expect(
      [...sources]
        .filter(([, { text }]) => /\bprocess\s*\.\s*(?:on|once|addListener|prependListener)\b/.test(text))
        .map(([name]) => name),
    ).toEqual([]);
  });

  it("has a name that says what it is", () => {
    expect(
      [...sources.keys()].filter((name) => /(?:^|\/)(?:utils?|helpers?|types|common|misc)(?:\/|\.ts$)/.test(name)),
    ).toEqual([]);
  });
});

describe("the doors", () => {
  /** The names that a door exports, those of types with `type ` before them. */
  function names(door: string): string[] {
    const { statements } = ts.createSourceFile(door, sources.get(door)?.text ?? "", ts.ScriptTarget.ES2022);
    return statements
      .flatMap((statement) => {
        if (
          !ts.isExportDeclaration(statement) ||
          statement.exportClause === undefined ||
          !ts.isNamedExports(statement.exportClause)
        )
          return [statement.kind === ts.SyntaxKind.ExportDeclaration ? "*" : "a statement of its own"];
        const allTypes = statement.isTypeOnly;
        return statement.exportClause.elements.map(({ name, isTypeOnly }) =>
          allTypes || isTypeOnly ? `type ${name.text}` : name.text,
        );
      })
      .sort();
  }

  it("show the names of the design, and no other", () => {
    expect(names("index.ts")).toEqual([
      "EventStreamError",
      "encodeEvent",
      "eventSource",
      "memoryBroker",
      "type Broker",
      "type CloseReason",
      "type EncodeOptions",
      "type EventSourceHandler",
      "type EventSourceOptions",
      "type EventStream",
      "type EventStreamErrorCode",
      "type EventStreamItem",
      "type EventStreamSource",
      "type HistoryOptions",
      "type LineEnding",
      "type MemoryBrokerOptions",
      "type ProduceOptions",
      "type Producer",
      "type Production",
      "type ProductionOutcome",
      "type PublishableEvent",
      "type PublishedEvent",
      "type Serialize",
      "type ServerSentEvent",
      "type StreamSummary",
      "type SubscribeOptions",
      "type ToEventOptions",
    ]);
    // A project that uses only one of these doors can export its broker.
    const ofBrokers = [
      "type Broker",
      "type HistoryOptions",
      "type ProduceOptions",
      "type Producer",
      "type Production",
      "type ProductionOutcome",
      "type PublishableEvent",
      "type PublishedEvent",
      "type ServerSentEvent",
      "type SubscribeOptions",
    ];
    expect(names("redis.ts")).toEqual(
      ["redisBroker", "type RedisBrokerOptions", "type RedisClient", ...ofBrokers].sort(),
    );
    expect(names("postgres.ts")).toEqual(
      [
        "postgresBroker",
        "postgresSchema",
        "type PGliteDatabase",
        "type PostgresBroker",
        "type PostgresBrokerOptions",
        "type PostgresPool",
        "type TransactionClient",
        "type TransactionOptions",
        ...ofBrokers,
      ].sort(),
    );
  });

  it("hold no more at run time than they show", () => {
    expect(Object.keys(front).sort()).toEqual(["EventStreamError", "encodeEvent", "eventSource", "memoryBroker"]);
    expect(Object.keys(redisDoor)).toEqual(["redisBroker"]);
    expect(Object.keys(postgresDoor).sort()).toEqual(["postgresBroker", "postgresSchema"]);
  });
});

describe("the package", () => {
  it("has no runtime dependency", () => {
    const { dependencies, optionalDependencies, bundledDependencies } = JSON.parse(
      readFileSync(new URL("../package.json", import.meta.url), "utf8"),
    ) as Record<string, object | undefined>;
    expect({ ...dependencies, ...optionalDependencies, ...bundledDependencies }).toEqual({});
  });
});
