/**
 * What the parts of a stream report to its session, which alone decides what follows. Each report may come more than
 * once, and in the async context of another request.
 */
export interface StreamEvents {
  /** The head has been set. It leaves with the first write. */
  onOpen(): void;
  /** The client has been given everything. */
  onFinish(): void;
  /** The client left, or does not take what is there for it. */
  onClientLost(reason: "disconnected" | "timeout" | "shutdown"): void;
  /** The response, or a middleware that wraps it, failed: nothing more can be sent. */
  onResponseError(error: unknown): void;
  /** The stream has lasted for `maxDuration`, or the grace period of a shutdown is over. */
  onTimeUp(reason: "expired" | "shutdown"): void;
  /** The source, an item or a hook failed. The response still works. */
  onError(error: unknown): void;
  /** Runs `work` in the async context of the stream's own request. */
  runInAsyncScope<Result>(work: () => Result): Result;
}
