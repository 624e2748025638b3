import { EventStreamError } from "../errors.js";

export function unavailable(message: string, cause?: unknown): EventStreamError {
  return new EventStreamError("ERR_BROKER_UNAVAILABLE", message, { cause });
}

/**
 * Settles as `promise` does, but rejects with the broker's error, or rejects after `timeout` milliseconds. A later
 * rejection is ignored.
 *
 * @throws {EventStreamError} (as a rejection) `ERR_BROKER_UNAVAILABLE`, `ERR_FOREIGN_ENTRY`
 */
export function withTimeout<T>(timeout: number, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(unanswered(timeout)), timeout);
    promise.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(toBrokerError(error));
      },
    );
  });
}

export function unanswered(timeout: number): EventStreamError {
  return unavailable(`Redis did not answer within ${timeout} ms; it may have carried out the command all the same.`);
}

/** Turns a failure of the client, or an error reply from Redis, into the broker's error. */
export function toBrokerError(cause: unknown): EventStreamError {
  if (cause instanceof EventStreamError) return cause;
  const text = cause instanceof Error ? cause.message : String(cause);
  if (text.includes("WRONGTYPE")) return foreignKey(cause);
  if (isDenial(text)) {
    return unavailable(
      `The Redis user lacks a permission that the broker needs: ${text}. The Redis guide lists them all.`,
      cause,
    );
  }
  return unavailable(`Redis cannot be reached or refused the command: ${text}`, cause);
}

export function foreignKey(cause?: unknown): EventStreamError {
  return new EventStreamError(
    "ERR_FOREIGN_ENTRY",
    "The channel's key holds something that no broker wrote; give the broker a prefix of its own, or delete the key.",
    { cause },
  );
}

/**
 * The error for a user who may not publish messages or may not subscribe to them. Without messages, subscribers would
 * get an event only after the next audit, which may be 30 seconds away.
 */
export function deniedBell(command: string, prefix: string, cause: unknown): EventStreamError {
  const text = cause instanceof Error ? cause.message : String(cause);
  return unavailable(
    `The Redis user may not ${command} on the channels' keys (${text}); ` +
      `grant it: ACL SETUSER <user> +${command.toLowerCase()} &${prefix}*`,
    cause,
  );
}

/** Redis 7 replies NOPERM, and within a script "ACL failure in script". */
export function isDenial(text: string): boolean {
  return /NOPERM|ACL failure|no permissions|can't run this command/.test(text);
}

/** Whether another try would fail in the same way. */
export function isFinal({ code, cause }: EventStreamError): boolean {
  return code === "ERR_FOREIGN_ENTRY" || (cause instanceof Error && isDenial(cause.message));
}
