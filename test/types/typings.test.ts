import { fileURLToPath } from "node:url";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Each file is read once for both projects; the declarations of Node and of the language are most of the work. */
const parsed = new Map<string, ts.SourceFile | undefined>();

/** Compiles event-source.types.ts as a user's project would: what the compiler has to say, and which types of Express it read. */
function compile(paths: Record<string, string[]>): { complaints: string[]; express: string[] } {
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2022,
    lib: ["lib.es2023.d.ts"],
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    types: ["node"],
    strict: true,
    skipLibCheck: true,
    noEmit: true,
    paths: { "express-event-source": [`${root}src/index.ts`], ...paths },
  };
  const host = ts.createCompilerHost(options);
  const parse = host.getSourceFile.bind(host);
  host.getSourceFile = (name, ...rest) => {
    if (!parsed.has(name)) parsed.set(name, parse(name, ...rest));
    return parsed.get(name);
  };
  const program = ts.createProgram([`${root}test/types/event-source.types.ts`], options, host);
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
});
