import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { EventStreamError } from "express-event-source";
import { onTestFinished } from "vitest";

/** What is announced while a test runs. */
export function announced(): { channel?: string; error: EventStreamError }[] {
  const messages: { channel?: string; error: EventStreamError }[] = [];
  const listener = (message: unknown): void => void messages.push(message as (typeof messages)[number]);
  subscribe("express-event-source:error", listener);
  onTestFinished(() => void unsubscribe("express-event-source:error", listener));
  return messages;
}
