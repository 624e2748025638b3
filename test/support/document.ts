import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root: string = fileURLToPath(new URL("../..", import.meta.url));

/** A code block of a document. The words after its language say how it is checked. */
export interface Sample {
  readonly section: string;
  readonly language: string;
  /**
   * Samples marked `browser`, `cjs`, `whole` or `signatures` are not part of their section's program. One marked
   * `no-run` is compiled, but not run.
   */
  readonly info: string;
  readonly code: string;
  readonly line: number;
}

/** The samples of a section, joined. A program without types is JavaScript, which may be pasted into an .mjs file. */
export interface Program {
  readonly code: string;
  readonly isTyped: boolean;
}

/** A Markdown file: its samples, tables and links. */
export class Document {
  readonly file: string;
  readonly text: string;
  readonly samples: readonly Sample[];

  constructor(file: string) {
    this.file = file;
    this.text = readFileSync(root + file, "utf8");
    this.samples = [...this.text.matchAll(/^( *)```(\w+)(.*)\n([^]*?)^\1```$/gm)].map(
      ({ index, 1: indent = "", 2: language = "", 3: info = "", 4: code = "" }) => {
        const before = this.text.slice(0, index);
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
  }

  /** The sample after `<!-- prelude -->`, which every section's program begins with. */
  get prelude(): string {
    const line = this.text.slice(0, this.text.indexOf("<!-- prelude -->")).split("\n").length + 1;
    return this.samples.find((sample) => sample.line === line)?.code ?? "";
  }

  /** The program of each section: what a reader has after pasting the prelude and all samples of that section. */
  get programs(): Map<string, Program> {
    const programs = new Map<string, Program>();
    for (const { code, language, info, section } of this.samples) {
      if (!["js", "ts"].includes(language) || !["", "no-run"].includes(info) || code === this.prelude) continue;
      const before = programs.get(section) ?? { code: this.prelude, isTyped: false };
      programs.set(section, { code: `${before.code}\n${code}`, isTyped: before.isTyped || language === "ts" });
    }
    return programs;
  }

  /** The rows of the first table after a text, such as a heading. */
  rows(after: string): string[][] {
    const table = /(?:^\|.*\n)+/m.exec(this.text.slice(this.text.indexOf(after)))?.[0] ?? "";
    const cells = (row: string) => row.split(/(?<!\\)\|/).slice(1, -1);
    return table
      .trim()
      .split("\n")
      .slice(2)
      .map((row) => cells(row).map((cell) => cell.trim()));
  }

  /** The text without its samples. */
  get #prose(): string {
    return this.text.replaceAll(/^( *)```[^]*?^\1```$/gm, "");
  }

  /** Links to files and headings of the repository that do not exist. */
  get brokenLinks(): string[] {
    const links = [...this.#prose.matchAll(/\]\((?!https?:)([^)]+)\)/g)].map(([, link = ""]) => link);
    return links.filter((link) => {
      const [path = "", heading] = link.split("#");
      const target = path === "" ? this.file : join(dirname(this.file), path);
      if (!existsSync(root + target)) return true;
      return heading !== undefined && !headings(readFileSync(root + target, "utf8")).includes(heading);
    });
  }

  /** The files of the repository that the document links to. */
  get linkedFiles(): string[] {
    const links = [...this.#prose.matchAll(/\]\((?!https?:)([^)#]+)(?:#.*?)?\)/g)];
    return links.map(([, link = ""]) => join(dirname(this.file), link));
  }
}

/** The anchors of a document's headings. */
function headings(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w -]/g, "")
      .replaceAll(" ", "-"),
  );
}
