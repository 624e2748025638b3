import type { History } from "../broker/checks.js";

/** The settings that follow from a broker's options. */
export interface BrokerSettings {
  readonly history: History;
  /**
   * How long a key lives after its newest event was added, in milliseconds: `maxAge` plus a margin. A live producer's
   * lease extends it.
   */
  readonly timeToLive: number;
  readonly timeout: number;
  readonly prefix: string;
  /** The command that publishes messages. */
  readonly ring: "PUBLISH" | "SPUBLISH";
}

/** The arguments that every script that writes takes first, after the nonce. */
export function writingArguments(
  { history: { maxEvents, maxAge }, timeToLive, ring }: BrokerSettings,
  firstCount: number,
  database: number,
): string[] {
  return [maxEvents, maxAge, timeToLive, firstCount, database, ring].map(String);
}
