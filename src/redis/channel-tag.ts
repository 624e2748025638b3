import { createHash } from "node:crypto";

/** What tells a channel from others in an event id, whatever its name is. */
export interface ChannelTag {
  /** Six characters of base 64. */
  readonly name: string;
  /**
   * The count of the first entry that the channel gets in a millisecond: each channel has its own, so that an ID is not
   * taken for that of another channel's entry, added in the same millisecond.
   */
  readonly firstCount: number;
}

export function channelTag(key: string): ChannelTag {
  const hash = createHash("sha1").update(key).digest();
  return { name: hash.toString("base64url").slice(0, 6), firstCount: ((hash.readUInt32LE(8) % 999_999) + 1) * 10_000 };
}
