import { accessSync, constants } from "node:fs";
import { delimiter, resolve } from "node:path";
import { describe } from "vitest";

/** Whether `program` is the name of a program in the search path, or the path of one. */
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
 * A `describe` for tests that need programs installed on the system. If one is missing, the tests are left out, with a
 * line that says so. On CI they run all the same, and fail.
 */
export function describeWith(programs: string | readonly string[], name: string, tests: () => void): void {
  const missing = [programs].flat().filter((program) => !isInstalled(program));
  const isTried = missing.length === 0 || process.env["CI"] === "true";
  if (!isTried) console.warn(`The tests "${name}" are left out: ${missing.join(" and ")} not installed.`);
  describe.skipIf(!isTried)(name, tests);
}
