import { once } from "node:events";
import type { Server as HttpServer } from "node:http";
import { type AddressInfo, Server } from "node:net";
import type { Express } from "express";
import * as library from "express-event-source";
import * as postgres from "express-event-source/postgres";
import * as redis from "express-event-source/redis";
import ts from "typescript";
import { afterEach, beforeEach, vi } from "vitest";
import { type Program, root } from "./document.js";

/** The compiler's errors in programs, which are keyed by their names. */
export function problemsOf(programs: ReadonlyMap<string, Program>): string {
  const files = new Map(
    [...programs].map(([name, { code, isTyped }]) => [
      `${root}sample-${name.replaceAll(/\W/g, "-")}.${isTyped ? "ts" : "mjs"}`,
      code,
    ]),
  );
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(`${root}tsconfig.json`, (file) => ts.sys.readFile(file)).config,
    ts.sys,
    root,
  );
  Object.assign(options, { noUnusedLocals: false, noUnusedParameters: false, allowJs: true, checkJs: true });
  // In JavaScript a parameter cannot have a type.
  options.noImplicitAny = false;
  const disk = ts.createCompilerHost(options);
  const host: ts.CompilerHost = {
    ...disk,
    fileExists: (file) => files.has(file) || disk.fileExists(file),
    readFile: (file) => files.get(file) ?? disk.readFile(file),
    getSourceFile: (file, language) => {
      const code = files.get(file);
      return code === undefined ? disk.getSourceFile(file, language) : ts.createSourceFile(file, code, language);
    },
  };
  const program = ts.createProgram([...files.keys()], options, host);
  const problems = [...files.keys()].flatMap((file) => {
    const source = program.getSourceFile(file);
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
  });
  return ts.formatDiagnostics(problems, host);
}

/** The errors that make `code` invalid JavaScript. */
export function syntaxErrors(code: string): string[] {
  const { diagnostics = [] } = ts.transpileModule(code, {
    fileName: "sample.js",
    reportDiagnostics: true,
    compilerOptions: { allowJs: true, target: ts.ScriptTarget.ES2022 },
  });
  return diagnostics.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));
}

const AsyncFunction = (async () => {}).constructor as FunctionConstructor;
const own: Record<string, object> = {
  "express-event-source": library,
  "express-event-source/redis": redis,
  "express-event-source/postgres": postgres,
};

/**
 * Runs TypeScript or JavaScript. Its imports are loaded first; other names that it needs are in `globals`. Resolves
 * with the value of the expression `result`.
 */
export async function run(code: string, result: string, globals: Record<string, unknown> = {}): Promise<unknown> {
  const { outputText } = ts.transpileModule(code, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.CommonJS, esModuleInterop: true },
  });
  const modules = new Map<string, object>();
  for (const [, name = ""] of outputText.matchAll(/require\("(.*?)"\)/g)) {
    if (name in globals) continue;
    const exports = own[name] ?? ((await import(/* @vite-ignore */ name)) as object);
    modules.set(name, { ...exports, __esModule: true });
  }
  const require = (name: string) => globals[name] ?? modules.get(name);
  const names: Record<string, unknown> = { require, exports: {}, ...globals };
  const identifiers = Object.keys(names).filter((name) => /^\w+$/.test(name));
  const call = new AsyncFunction(...identifiers, `${outputText}\nreturn ${result};`) as (
    ...values: unknown[]
  ) => Promise<unknown>;
  return call(...identifiers.map((name) => names[name]));
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** Requests a path and reads the answer until it contains `enough` or ends. */
export type Ask = (path: string, init?: RequestInit & { enough?: string }) => Promise<Answer>;

export const json = (body: object): RequestInit => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});

/** A program that runs: the address of its application, and how to ask it. */
export interface Stage {
  readonly url: string;
  readonly ask: Ask;
}

/** For the tests of the calling file: `start` makes a stage of a program whose `app` is an Express application. */
export function sampleStage(): {
  readonly start: (program: Program | undefined, globals?: Record<string, unknown>) => Promise<Stage>;
  readonly servers: HttpServer[];
} {
  const servers: HttpServer[] = [];
  const listen = Object.getOwnPropertyDescriptor(Server.prototype, "listen")?.value as () => HttpServer;

  beforeEach(() => {
    // Whatever port the samples ask for, they get a free one.
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

  const start = async (program: Program | undefined, globals?: Record<string, unknown>): Promise<Stage> => {
    if (program === undefined) throw new Error("There is no such section.");
    const app = (await run(program.code, "app", globals)) as Express;
    return stageOf(app.listen(0));
  };
  return { start, servers };
}

/** Makes a stage of a server that listens or is about to. */
export async function stageOf(server: HttpServer): Promise<Stage> {
  if (!server.listening) await once(server, "listening");
  const url = `http://localhost:${(server.address() as AddressInfo).port}`;
  const ask: Ask = async (path, { enough, ...init } = {}) => {
    const leave = new AbortController();
    const response = await fetch(url + path, { ...init, signal: leave.signal });
    let text = "";
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk).toString("utf8");
      if (enough !== undefined && text.includes(enough)) break;
    }
    leave.abort();
    return { status: response.status, headers: response.headers, text };
  };
  return { url, ask };
}
