import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromiumArguments } from "../support/chromium-arguments.js";

/** A browser as a program: it is given a page, and the page itself reports what it sees. */
export interface Browser {
  readonly name: string;
  readonly program: string;
  /** The arguments, with a profile in this folder. */
  readonly prepare: (folder: string) => string[];
}

export const chromium: Browser = {
  name: "Chromium",
  program: process.env["CHROMIUM"] ?? "chromium",
  prepare: (folder) => ["--headless=new", `--user-data-dir=${folder}`, ...chromiumArguments],
};

export const firefox: Browser = {
  name: "Firefox",
  program: process.env["FIREFOX"] ?? "firefox-esr",
  prepare: (folder) => {
    const settings = {
      "app.update.enabled": false,
      "browser.aboutwelcome.enabled": false,
      "browser.shell.checkDefaultBrowser": false,
      "datareporting.policy.dataSubmissionEnabled": false,
      "datareporting.policy.firstRunURL": "",
      "toolkit.telemetry.reportingpolicy.firstRun": false,
      // It may ask whom it likes at its start; nobody but this machine is reached, which needs no proxy.
      "network.proxy.type": 1,
      "network.proxy.http": "127.0.0.1",
      "network.proxy.http_port": 9,
      "network.proxy.ssl": "127.0.0.1",
      "network.proxy.ssl_port": 9,
    };
    const lines = Object.entries(settings).map(
      ([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`,
    );
    writeFileSync(join(folder, "user.js"), lines.join(""));
    return ["--headless", "--no-remote", "--profile", folder];
  },
};

/** A browser that shows a page. */
export interface OpenPage {
  /** Rejects when the browser has ended, or could not be started. */
  readonly lost: Promise<never>;
  readonly close: () => Promise<void>;
}

export function openPage(browser: Browser, url: string): OpenPage {
  const folder = mkdtempSync(join(tmpdir(), "browser-"));
  // A group of its own: a browser is many processes.
  const child = spawn(browser.program, [...browser.prepare(folder), url], {
    detached: true,
    stdio: "ignore",
    env: { ...process.env, HOME: folder },
  });
  const lost = once(child, "exit").then(([code, signal]): never => {
    throw new Error(`${browser.name} has ended: ${code ?? signal}`);
  });
  const close = async (): Promise<void> => {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
      process.kill(-child.pid, "SIGKILL");
    await lost.catch(() => {});
    // The last of its processes may still be writing.
    rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  };
  lost.catch(() => {});
  return { lost, close };
}
