export type {
  Broker,
  HistoryOptions,
  ProduceOptions,
  Producer,
  Production,
  ProductionOutcome,
  PublishedEvent,
  SubscribeOptions,
} from "./broker/broker.js";
export { memoryBroker, type MemoryBrokerOptions } from "./memory/memory-broker.js";
export { EventStreamError, type EventStreamErrorCode } from "./errors.js";
export { eventSource, type EventSourceHandler, type EventStreamSource } from "./event-source.js";
export type { EventStream } from "./source/event-stream.js";
export { encodeEvent, type EncodeOptions } from "./format/encode.js";
export type { PublishableEvent } from "./format/compile-time-checks.js";
export type { EventStreamItem, LineEnding, Serialize, ServerSentEvent } from "./format/event.js";
export type { CloseReason, EventSourceOptions, StreamSummary, ToEventOptions } from "./options.js";
