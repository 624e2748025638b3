/** The payload that says that a transaction has published. It does not name the channels. */
export const transactional = "";

/** What a notification says about one channel. */
export interface News {
  /** The channel's key, as `keyOf` makes it. */
  readonly key: string;
  /** The number of its last event. */
  readonly last: number;
  /** Whether the channel has ended, or a producer has claimed it and not published yet. */
  readonly mayHaveEnded: boolean;
}

/** Parses a payload such as `5f1c09a2b7d3e4a1:42,0b7d3e4a15f1c09a:7!`. */
export function newsIn(payload: string): News[] {
  return Array.from(payload.matchAll(/([0-9a-f]{16}):(\d+)(!?)/g), ([, key, last, mark]) => ({
    key: key as string,
    last: Number(last),
    mayHaveEnded: mark === "!",
  }));
}
