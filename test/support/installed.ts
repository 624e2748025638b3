import { accessSync, constants } from "node:fs";
import { delimiter, resolve } from "node:path";
import { describe } from "vitest";

/** Whether the search path has a program of this name, or it is the path of one. */
function isInstalled(program: string): boolean {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin"];
  return folders.some((folder) => {
    try {
      accessSync(resolve(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * A `describe` for tests that need programs of the system's. Where one is missing they are left out, with a line that says
 * so; on CI they run all the same, and fail.
 */
export function describeWith(programs: string | readonly string[], name: string, tests: () => void): void {
  const missing = [programs].flat().filter((program) => !isInstalled(program));
  const isTried = missing.length === 0 || process.env["CI"] === "true";
  if (!isTried) console.warn(`The tests "${name}" are left out: ${missing.join(" and ")} not installed.`);
  describe.skipIf(!isTried)(name, tests);
}
