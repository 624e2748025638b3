import { fileURLToPath } from "node:url";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));

const linesFile = `${root}test/types/lines.ts`;

/** Each file is read once for both projects; the declarations of Node and of the language are most of the work. */
const parsed = new Map<string, ts.SourceFile | undefined>();

/** Compiles a file, or some lines, as a user's project would: what the compiler has to say, and which types of Express it read. */
function compile(
  paths: Record<string, string[]>,
  lines?: string,
  more: ts.CompilerOptions = {},
): { complaints: string[]; express: string[] } {
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2022,
    lib: ["lib.es2023.d.ts"],
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    types: ["node"],
    strict: true,
    skipLibCheck: true,
    noEmit: true,
    paths: {
      "express-event-source": [`${root}src/index.ts`],
      "express-event-source/postgres": [`${root}src/postgres.ts`],
      ...paths,
    },
    ...more,
  };
  const host = ts.createCompilerHost(options);
  const parse = host.getSourceFile.bind(host);
  host.getSourceFile = (name, ...rest) => {
    if (name === linesFile) return ts.createSourceFile(name, lines ?? "", ts.ScriptTarget.ES2022, true);
    if (!parsed.has(name)) parsed.set(name, parse(name, ...rest));
    return parsed.get(name);
  };
  const file = lines === undefined ? `${root}test/types/event-source.types.ts` : linesFile;
  const program = ts.createProgram([file], options, host);
  const complaints = ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
    const line =
      file === undefined ? "" : `${file.fileName}:${file.getLineAndCharacterOfPosition(start ?? 0).line + 1} `;
    return line + ts.flattenDiagnosticMessageText(messageText, "\n");
  });
  const express = program
    .getSourceFiles()
    .flatMap(({ fileName }) => /(?:@types\/|types-)express4?(?=\/index)/.exec(fileName) ?? []);
  return { complaints, express };
}

// A compiler is slow on a busy machine, and slower still where coverage is measured.
describe("the typings", { timeout: 120_000 }, () => {
  it("hold with the types of Express 5", () => {
    expect(compile({})).toEqual({ complaints: [], express: ["@types/express"] });
  });

  it("hold with the types of Express 4", () => {
    const paths = { express: [`${root}node_modules/types-express4/index.d.ts`] };
    expect(compile(paths)).toEqual({ complaints: [], express: ["types-express4"] });
  });

  it("have a name for all that a user's own declarations show of eventSource", () => {
    const lines = `import { eventSource } from "express-event-source";
      const twice = <A extends unknown[], R>(make: (...a: A) => R) => (...a: A): R[] => [make(...a), make(...a)];
      export const rooms = eventSource<{ room: string }>;
      export const pairs = twice(eventSource);
      export const all = () => ({ eventSource: eventSource<{ room: string }, number> });`;
    expect(compile({}, lines, { declaration: true }).complaints).toEqual([]);
  });

  it("say what to do, in the compiler's last line", () => {
    const lines = [
      `eventSource(async function* () { yield { id: 1, title: "x" } });`,
      `eventSource(async function* () { yield { title: "x" } });`,
      `eventSource([null]);`,
      `eventSource(rows);`,
      `eventSource(async () => rows);`,
      `eventSource(function* () { yield { event: "halt" } });`,
      `void memoryBroker().publish("rows", row);`,
      `void memoryBroker().publish("rows", { id: 1, data: row });`,
    ];
    const { complaints } = compile(
      {},
      `import { eventSource, memoryBroker } from "express-event-source";
      declare const row: { id?: undefined; title: string };
      declare const rows: AsyncIterable<{ id: number; title: string }>;
      ${lines.join("\n")}`,
    );
    const lastLines = complaints.map((complaint) => complaint.split("\n").at(-1) ?? "");
    const remedies = lastLines.map((line) => /"([A-Z][^"]+)"/.exec(line)?.[1] ?? line);
    expect(remedies).toEqual([
      "Not a field of an event: put your payload in data, or pass toEvent",
      "Not an event: put your payload in data, or pass toEvent",
      "Not an event: put your payload in data, or pass toEvent",
      "Not a field of an event: put your payload in data, or pass toEvent",
      "Not a field of an event: put your payload in data, or pass toEvent",
      "No browser dispatches an event without data: write data",
      "Not a field of an event: put your payload in data",
      "The broker gives the ids: leave id out",
    ]);
  });
});
