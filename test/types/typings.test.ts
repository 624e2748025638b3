import { fileURLToPath } from "node:url";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Compiles event-source.types.ts as a user's project would: what the compiler has to say, and which types of Express it read. */
function compile(paths: Record<string, string[]>): { complaints: string[]; express: string[] } {
  const program = ts.createProgram([`${root}test/types/event-source.types.ts`], {
    target: ts.ScriptTarget.ES2022,
    lib: ["lib.es2023.d.ts"],
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    types: ["node"],
    strict: true,
    skipLibCheck: true,
    noEmit: true,
    paths: { "express-event-source": [`${root}src/index.ts`], ...paths },
  });
  const complaints = ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
    const line = file === undefined ? "" : `${file.fileName}:${file.getLineAndCharacterOfPosition(start ?? 0).line + 1} `;
    return line + ts.flattenDiagnosticMessageText(messageText, "\n");
  });
  const express = program.getSourceFiles().flatMap(({ fileName }) => /(?:@types\/|types-)express4?(?=\/index)/.exec(fileName) ?? []);
  return { complaints, express };
}

describe("the typings", () => {
  it("hold with the types of Express 5", () => {
    expect(compile({})).toEqual({ complaints: [], express: ["@types/express"] });
  });

  it("hold with the types of Express 4", () => {
    const paths = { express: [`${root}node_modules/types-express4/index.d.ts`] };
    expect(compile(paths)).toEqual({ complaints: [], express: ["types-express4"] });
  });
});
