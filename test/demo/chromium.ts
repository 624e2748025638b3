import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";
import { chromiumArguments } from "../support/chromium-arguments.js";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";

/**
 * Whether the browser tests can run here. Where there is no Chromium a person is told so; in CI its absence is a failure,
 * which the launch then shows.
 */
export const hasChromium: boolean = existsSync(executablePath) || process.env.CI === "true";
if (!hasChromium)
  console.warn(
    `No Chromium at ${executablePath}, so the browser tests are skipped. Install it, or set CHROMIUM to its path.`,
  );

export function launchChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath,
    args: [...chromiumArguments],
  });
}
