import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { PGlite } from "@electric-sql/pglite";
import { openDatabase } from "./database.js";
import { lend } from "./link.js";

interface Claim {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** The process that writes the answers: it is started when one is asked for, and again after it has died. */
export class Writer {
  #child: ChildProcess | undefined;
  readonly #claims = new Map<string, Claim>();
  readonly #log: (line: string) => void;

  constructor(log: (line: string) => void) {
    this.#log = log;
  }

  /** Resolves with the process's number when the channel has its producer. */
  async write(channel: string, prompt: string): Promise<number | undefined> {
    const database = await openDatabase();
    const child = (this.#child ??= this.#start(database));
    await new Promise<void>((resolve, reject) => {
      this.#claims.set(channel, { resolve, reject });
      child.send({ channel, prompt }, (error) => error !== null && reject(error));
    }).finally(() => this.#claims.delete(channel));
    return child.pid;
  }

  /** Ends it as a crash would: it can say nothing to anybody any more. */
  async kill(): Promise<number | undefined> {
    const child = this.#child;
    if (child === undefined) return undefined;
    child.kill("SIGKILL");
    await once(child, "exit");
    return child.pid;
  }

  #start(database: PGlite): ChildProcess {
    const child = fork(fileURLToPath(new URL("panels/answer-process.ts", import.meta.url)), {
      execArgv: ["--import", "tsx"],
    });
    lend(database, child);
    child.on("message", (message: { line: string } | { claimed: string }) => {
      if ("line" in message) this.#log(message.line);
      if ("claimed" in message) this.#claims.get(message.claimed)?.resolve();
    });
    child.on("exit", (code, signal) => {
      this.#child = undefined;
      this.#log(`answer: process ${child.pid} has ended (${signal ?? code})`);
      for (const { reject } of this.#claims.values()) reject(new Error("The process died before it began to write."));
    });
    return child;
  }
}
