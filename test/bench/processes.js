import { spawn, spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";

const canPin = availableParallelism() >= 2 && spawnSync("taskset", ["-c", "0,1", "true"]).status === 0;
export const pinning = canPin ? "server on core 0, client on core 1" : "not pinned";

/** A bound against hanging: a contender that loses an event, say. */
const patience = 120_000;

/** Starts a script of this folder on one core. `ask(command, argument)` calls one of its commands. */
export function start(script, core, args = [], nodeArgs = []) {
  const node = [process.execPath, ...nodeArgs, fileURLToPath(new URL(script, import.meta.url)), ...args];
  const [command, ...rest] = canPin ? ["taskset", "-c", String(core), ...node] : node;
  const child = spawn(command, rest, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const waiting = new Map();
  let asked = 0;

  const gone = new Promise((resolve) => child.once("exit", resolve));
  const api = {
    ask(command, argument) {
      const id = ++asked;
      return new Promise((resolve, reject) => {
        const tooLong = setTimeout(
          () => reject(new Error(`${script} ${args[0] ?? ""} did not answer "${command}" in ${patience / 1_000} s`)),
          patience,
        );
        waiting.set(id, {
          resolve: (result) => (clearTimeout(tooLong), resolve(result)),
          reject: (error) => (clearTimeout(tooLong), reject(error)),
        });
        child.send({ id, command, argument });
      });
    },
    async stop() {
      if (child.connected) child.disconnect();
      await gone;
    },
  };
  return new Promise((resolve, reject) => {
    child.on("message", ({ ready, id, result, error }) => {
      if (ready !== undefined) return resolve({ ...api, ready });
      const { resolve: answer, reject: refuse } = waiting.get(id);
      waiting.delete(id);
      if (error === undefined) answer(result);
      else refuse(new Error(error));
    });
    child.once("exit", (code) => {
      const error = new Error(`${script} ${args[0] ?? ""} ended with code ${code}`);
      reject(error);
      for (const { reject: refuse } of waiting.values()) refuse(error);
    });
  });
}
