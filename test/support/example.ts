import type { Server as HttpServer } from "node:http";
import { Server } from "node:net";
import { format } from "node:util";
import { afterAll, vi } from "vitest";
import { until } from "./stage.js";

/** An example that runs in this process, with the lines that it has printed. */
export interface Example {
  /** The address that it printed first. */
  readonly url: string;
  readonly printed: readonly string[];
}

/** Runs `examples/<name>.ts` on a free port until all tests of the calling file are over. */
export async function runExample(name: string): Promise<Example> {
  const printed: string[] = [];
  const listen = vi.spyOn(Server.prototype, "listen");
  const log = vi.spyOn(console, "log").mockImplementation((...values) => void printed.push(format(...values)));
  vi.stubEnv("PORT", "0");
  await import(/* @vite-ignore */ `../../examples/${name}.ts`);
  await until(() => printed.length > 0);
  vi.unstubAllEnvs();
  const servers = listen.mock.contexts as HttpServer[];
  afterAll(() => {
    for (const server of servers) {
      server.close();
      server.closeAllConnections();
    }
    log.mockRestore();
  });
  return { url: printed[0] as string, printed };
}
