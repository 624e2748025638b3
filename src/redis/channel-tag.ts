import { hash } from "node:crypto";

/** Identifies a channel in event ids by a hash of its key, so that any channel name will do. */
export interface ChannelTag {
  /** Six characters of base64url. */
  readonly name: string;
  /**
   * The count (the number after the dash) in the ID of the first entry that the channel gets in a millisecond. Two
   * channels rarely share it, so that an ID is not mistaken for that of another channel's entry added in the same
   * millisecond.
   */
  readonly firstCount: number;
}

export function channelTag(key: string): ChannelTag {
  const digest = hash("sha1", key, "buffer");
  return {
    name: digest.toString("base64url").slice(0, 6),
    firstCount: ((digest.readUInt32LE(8) % 999_999) + 1) * 10_000,
  };
}
