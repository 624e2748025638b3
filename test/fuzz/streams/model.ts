import type { CloseReason } from "express-event-source";
import { show } from "./http.js";
import type { StreamProgram } from "./program.js";
import type { Exchange, Trace } from "./runner.js";
import type { Yielded } from "./source.js";

/** The bytes of a frame as DESIGN describes it, implemented anew so that the library is not checked against itself. */
export function frameOf(value: unknown, lineEnding: string): Buffer {
  if (value instanceof Uint8Array) return Buffer.from(value);
  const { comment, id, event, data, retry } = (typeof value === "object" ? value : { data: value }) as Record<
    string,
    unknown
  >;
  const lines: string[] = [];
  const add = (name: string, text: string): unknown =>
    lines.push(...text.split(/\r\n|\r|\n/).map((line) => `${name}: ${line}`));
  if (comment !== undefined) add("", comment as string);
  if (id !== undefined) add("id", String(id));
  if (event !== undefined) add("event", event as string);
  if (data !== undefined) add("data", typeof data === "string" ? data : JSON.stringify(data));
  if (retry !== undefined) add("retry", String(retry));
  return Buffer.from([...lines, "", ""].join(lineEnding));
}

/** Whether the source comes to an end by itself, in whatever way. */
function isFinite({ source }: StreamProgram): boolean {
  const canWait = source.shape !== "sync iterable" && source.shape !== "iterable of promises";
  return (
    isRefused(source.opening) ||
    source.end === "ends" ||
    source.end === "throws" ||
    (source.end !== "is always ready" && !canWait)
  );
}

/** Whether there is no source to read. */
function isRefused(opening: StreamProgram["source"]["opening"]): boolean {
  return !["returns", "promises", "promises late"].includes(opening);
}

/** Whether `maxDuration` passes while the program runs. */
function expiresSoon({ maxDuration = Infinity }: StreamProgram["options"]): boolean {
  return maxDuration < 1_000;
}

/** Whether all streams of the program have to end without the program's `finish`. */
export function mustEnd(program: StreamProgram): boolean {
  const { client, events, options } = program;
  if (client.leaves !== undefined) return true;
  const shutsDown = events.some(
    ({ what }) => what === "shutdownSignal" || (what === "server.close()" && options.endOnServerClose),
  );
  return shutsDown || (client.reads !== "until it stalls" && (isFinite(program) || expiresSoon(options)));
}

/** Whether something in the program may fail. */
export function mayFail({ source, options, middleware }: StreamProgram): boolean {
  const { shape, items, end, opening, onReturn } = source;
  return (
    ["throws", "rejects", "rejects late", "undefined"].includes(opening) ||
    middleware === "write throws" ||
    (shape === "node stream" && onReturn === "throws") ||
    (end === "throws" && shape !== "subscription") ||
    (items.some(({ kind }) => kind === "invalid") && shape !== "subscription") ||
    options.toEvent === "throws" ||
    options.retry === "throws" ||
    (options.pingInterval !== false && ["throws", "rejects", "invalid"].includes(options.ping))
  );
}

/** The reasons for which this stream may have ended. */
export function possibleReasons(program: StreamProgram, exchange: Exchange, trace: Trace): Set<CloseReason> {
  const { source, client, options, secure, middleware } = program;
  const reasons = new Set<CloseReason>();
  const isDisturbed = exchange.disturbed.length > 0;
  const isEnough =
    !isRefused(source.opening) && isFinite(program) && (source.end !== "throws" || source.shape === "subscription");
  const isMuch = source.end === "is always ready" || source.items.some(({ kind }) => kind === "big");
  if (isEnough) reasons.add("completed");
  // If another stream is cut, the connection and its other requests are cut with it.
  const isCut = trace.exchanges.some(
    (other) =>
      other !== exchange &&
      (other.disturbed.length > 0 || other.summaries.some(({ reason }) => reason !== "completed")),
  );
  if (trace.clientHasLeft || isDisturbed || isCut) reasons.add("disconnected");
  // Output that a reading client takes at once never waits, so it cannot time out.
  if (options.sendTimeout === 40 && (client.reads !== "all" || isMuch || secure || middleware !== "none"))
    reasons.add("timeout");
  if (expiresSoon(options)) reasons.add("expired");
  if (trace.hasShutDown) reasons.add("shutdown");
  if (mayFail(program) || isDisturbed) reasons.add("error");
  return reasons;
}

/** What a body shows of its stream. */
export interface Body {
  /** How many whole items the body shows at least, and at most: the two differ because some items have no bytes. */
  readonly items: number;
  readonly mostItems: number;
  readonly hasFarewell: boolean;
  /** Whether the body stops within a frame, or after a "half a frame" item that nothing has completed. */
  readonly isOpenEnded: boolean;
}

/**
 * Takes a body apart. It must consist of the frames of `yielded` in order, each whole, with pings between them.
 *
 * @throws if the body is anything else
 */
export function readBody(
  body: Buffer,
  yielded: readonly Yielded[],
  { options }: StreamProgram,
  reason: CloseReason | undefined,
): Body {
  const frame = (value: unknown): Buffer => frameOf(value, options.lineEnding);
  const others = new Map<string, Buffer>();
  if (options.pingInterval !== false)
    others.set("ping", frame(options.ping === "default" ? { comment: "ping" } : { event: "tick", data: "" }));
  if (reason === "error" && options.onError === "event")
    others.set("farewell", frame({ event: "failed", data: "sorry" }));
  if (options.retry !== "none") others.set("retry", frame({ retry: 1_234 }));
  else if (reason === "shutdown") others.set("retry", frame({ retry: 3_000 }));

  let at = 0;
  let items = 0;
  let mostItems = 0;
  let isMidFrame = false;
  let hasFarewell = false;
  const skipEmpty = (): void => {
    while (yielded[mostItems]?.kind === "no bytes") mostItems += 1;
  };
  for (skipEmpty(); at < body.length; skipEmpty()) {
    const item = yielded[mostItems];
    const own = item === undefined || item.kind === "invalid" ? Buffer.alloc(0) : frame(item.value);
    const candidates = [...(own.length > 0 ? [["item", own] as const] : []), ...(isMidFrame ? [] : others)];
    const rest = body.subarray(at);
    const [name, next] = candidates.find(([, other]) => begins(rest, other)) ?? ["nothing"];
    if (hasFarewell || next === undefined)
      throw new Error(`After ${items} items comes ${show(rest)}, not ${show(own)}.`);
    if (next.length > rest.length) return { items, mostItems, hasFarewell, isOpenEnded: true };
    at += next.length;
    others.delete("retry");
    if (name === "farewell") hasFarewell = true;
    if (name !== "item") continue;
    items = mostItems += 1;
    isMidFrame = item?.kind === "half a frame";
  }
  return { items, mostItems, hasFarewell, isOpenEnded: isMidFrame };
}

/** Whether one is the beginning of the other. */
function begins(rest: Buffer, frame: Buffer): boolean {
  const length = Math.min(rest.length, frame.length);
  return rest.compare(frame, 0, length, 0, length) === 0;
}
