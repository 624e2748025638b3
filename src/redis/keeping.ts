import type { History } from "../broker/checks.js";
import { channelTag } from "./channel-tag.js";

/** How channels are kept, and rung. */
export interface Keeping {
  readonly history: History;
  readonly timeToLive: number;
  readonly timeout: number;
  readonly prefix: string;
  readonly ring: "PUBLISH" | "SPUBLISH";
}

/** What every script that writes is told first. */
export function writingArguments(
  { history: { maxEvents, maxAge }, timeToLive, ring }: Keeping,
  key: string,
  database: number,
): string[] {
  return [maxEvents, maxAge, timeToLive, channelTag(key).firstCount, database, ring].map(String);
}
