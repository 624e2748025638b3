import type { EventParts } from "../broker/published-event.js";
import type { History } from "../broker/checks.js";
import { literal, storedName } from "./sql.js";

/** What `produce` in the schema is asked to do. */
export interface ProduceRequest {
  readonly act: "claim" | "append" | "renew" | "end" | "stop";
  readonly token?: string;
  readonly number?: number;
  readonly parts?: EventParts | undefined;
  readonly lease?: number;
}

/** The statement whose rows are those of a `drainStatement`, and a last one with the verdict after these columns. */
export function produceStatement(
  s: string,
  channel: string,
  { act, token = "", number = 0, parts, lease = 0 }: ProduceRequest,
  { maxEvents }: History,
): string {
  const content = parts === undefined ? "NULL" : literal(JSON.stringify(parts));
  const asked = [literal(act), literal(storedName(channel)), literal(token), number, content, lease, maxEvents];
  return `SELECT dropped, NULL, verdict FROM ${s}.produce(${asked.join(", ")})`;
}
