import type { History } from "../broker/checks.js";
import { channelTag } from "./channel-tag.js";

/** What the options of a broker come to. */
export interface BrokerSettings {
  readonly history: History;
  /** How long a key outlives its newest event, in milliseconds: `maxAge` and a margin. */
  readonly timeToLive: number;
  readonly timeout: number;
  readonly prefix: string;
  /** The command that publishes messages. */
  readonly ring: "PUBLISH" | "SPUBLISH";
}

/** What every script that writes is told first. */
export function writingArguments(
  { history: { maxEvents, maxAge }, timeToLive, ring }: BrokerSettings,
  key: string,
  database: number,
): string[] {
  return [maxEvents, maxAge, timeToLive, channelTag(key).firstCount, database, ring].map(String);
}
