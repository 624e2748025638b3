import { randomBytes } from "node:crypto";
import { foreignKey, toBrokerError, unavailable } from "./failure.js";
import type { Script } from "./script.js";

/** Sends one command. */
export type Send = (args: readonly string[]) => Promise<unknown>;

export interface Question {
  readonly script: Script;
  readonly keys: readonly string[];
  readonly args: readonly string[];
}

/** A script's reply without the nonce: the server's time in milliseconds, the kind of reply, and the rest. */
export interface Answer {
  readonly now: number;
  readonly status: string;
  readonly rest: readonly unknown[];
}

const run = randomBytes(6).toString("base64url");
let questions = 0;

/**
 * Runs a script in Redis. A reply is accepted only if it carries the question's nonce: without the nonce, a client that
 * mixes up replies could give one channel's events to another.
 *
 * @throws the error with which `send` rejects, or {EventStreamError} `ERR_BROKER_UNAVAILABLE` or `ERR_FOREIGN_ENTRY`
 */
export async function runScript(send: Send, { script, keys, args }: Question): Promise<Answer> {
  const nonce = run + (questions++).toString(36);
  const rest = [String(keys.length), ...keys, nonce, ...args];
  let reply: unknown;
  try {
    reply = await send(["EVALSHA", script.sha, ...rest]);
  } catch (error) {
    if (!(error instanceof Error && error.message.includes("NOSCRIPT"))) throw error;
    reply = await send(["EVAL", script.text, ...rest]);
  }
  if (!Array.isArray(reply) || reply[0] !== nonce)
    throw unavailable("The Redis client answered this command with the reply to another command.");
  const [, now, status, ...more] = reply as [string, string, string, ...unknown[]];
  if (status === "foreign") throw foreignKey();
  if (status === "error") throw toBrokerError(new Error(String(more[0])));
  return { now: Number(now), status, rest: more };
}
