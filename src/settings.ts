import { validateHeaderName, validateHeaderValue } from "node:http";
import { EventStreamError, show } from "./errors.js";
import { checkLineEnding, checkSerialize } from "./format/encode.js";
import type { ServerSentEvent } from "./format/event.js";
import type { Settings } from "./options.js";
import { headerList, type HeadersOption } from "./response/head.js";

const ping: ServerSentEvent = { comment: "ping" };

const defaults: Settings = {
  status: 200,
  headers: headerList({}),
  pingInterval: 15_000,
  ping: () => ping,
  retry: undefined,
  toEvent: undefined,
  serialize: JSON.stringify,
  lineEnding: "\n",
  sendTimeout: 60_000,
  maxDuration: undefined,
  shutdownSignal: undefined,
  endOnServerClose: true,
  shutdownGracePeriod: 0,
  onError: undefined,
  onClose: undefined,
};

/** A timer of Node's over this many milliseconds fires at once. */
const longestDelay = 2 ** 31 - 1;

const checks: { readonly [Name in keyof Settings]: (value: unknown, name: string) => void } = {
  status: checkStatus,
  headers: checkHeaders,
  pingInterval: (value, name) =>
    value === 0 ||
    value === false ||
    checkDelay(value, name, "a number of milliseconds up to 2147483647, or false for none"),
  ping: checkFunction,
  retry: (value, name) =>
    typeof value === "function" ||
    checkDelay(
      value,
      name,
      "a whole number of milliseconds ≥ 0 or a function that returns one",
      Number.isSafeInteger(value) && (value as number) >= 0,
    ),
  toEvent: checkFunction,
  serialize: checkSerialize,
  lineEnding: checkLineEnding,
  sendTimeout: (value, name) =>
    value === false || checkDelay(value, name, "a number of milliseconds from 1 to 2147483647, or false for never"),
  maxDuration: (value, name) => checkDelay(value, name, "a number of milliseconds from 1 to 2147483647"),
  shutdownSignal: checkSignal,
  endOnServerClose: (value, name) => typeof value === "boolean" || invalid(name, value, "true or false"),
  shutdownGracePeriod: (value, name) =>
    value === 0 || checkDelay(value, name, "a number of milliseconds from 0 to 2147483647"),
  onError: checkFunction,
  onClose: checkFunction,
};

/**
 * Checks options and fills in the defaults.
 *
 * @throws {EventStreamError} `ERR_INVALID_OPTION`, naming the option and its value
 */
export function checkOptions(options: unknown): Settings {
  if (!isPlainObject(options)) {
    throw new EventStreamError(
      "ERR_INVALID_OPTION",
      `The options of eventSource are ${show(options)}; they must be a plain object.`,
    );
  }
  const given: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(checks, name)) {
      throw new EventStreamError(
        "ERR_INVALID_OPTION",
        `eventSource has no option ${show(name)} (its value is ${show(value)}); it has ${Object.keys(checks).join(", ")}.`,
        { field: name },
      );
    }
    if (value === undefined) continue;
    checks[name as keyof Settings](value, name);
    given[name] = value;
  }
  // A copy of what was checked: a header that is changed afterwards has not been.
  return { ...defaults, ...given, headers: headerList(structuredClone(given["headers"] ?? {}) as HeadersOption) };
}

function invalid(name: string, value: unknown, must: string, cause?: unknown): never {
  throw new EventStreamError("ERR_INVALID_OPTION", `The option ${name} is ${show(value)}; it must be ${must}.`, {
    field: name,
    ...(cause === undefined ? {} : { cause }),
  });
}

function checkDelay(
  value: unknown,
  name: string,
  must: string,
  valid: boolean = typeof value === "number" && value >= 1 && value <= longestDelay,
): void {
  if (!valid) invalid(name, value, must);
}

/** Whether all that `value` has are properties of its own: what it inherits would be passed over in silence. */
function isPlainObject(value: unknown): value is object {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function checkFunction(value: unknown, name: string): void {
  if (typeof value !== "function") invalid(name, value, "a function");
}

function checkStatus(value: unknown, name: string): void {
  const hasBody =
    Number.isInteger(value) &&
    (value as number) >= 200 &&
    (value as number) <= 599 &&
    value !== 204 &&
    value !== 205 &&
    value !== 304;
  if (!hasBody) invalid(name, value, "a status from 200 to 599 that has a body (a source that is null answers 204)");
}

function checkSignal(value: unknown, name: string): void {
  const signal = value as Partial<AbortSignal> | null;
  if (
    typeof signal !== "object" ||
    signal === null ||
    typeof signal.aborted !== "boolean" ||
    typeof signal.addEventListener !== "function"
  ) {
    invalid(name, value, "an AbortSignal");
  }
}

/** These describe a body whose length and coding are not the caller's to say. */
const framing = new Set(["content-length", "transfer-encoding", "trailer"]);

function checkHeaders(value: unknown, name: string): void {
  if (!isPlainObject(value)) {
    invalid(
      name,
      value,
      'a plain object such as { "Cache-Control": "no-cache" } (Object.fromEntries makes one of Headers or a Map)',
    );
  }
  for (const [header, given] of Object.entries(value)) {
    const option = `${name}[${show(header)}]`;
    if (framing.has(header.toLowerCase()))
      invalid(option, given, "left out: an event stream has no length and is framed by Node");
    const values: unknown[] = Array.isArray(given) ? given : [given];
    try {
      validateHeaderName(header);
      for (const one of values) {
        if (one === undefined && !Array.isArray(given)) continue;
        if (typeof one !== "string" && typeof one !== "number") throw new TypeError(`${show(one)} is no header value`);
        validateHeaderValue(header, String(one));
      }
    } catch (cause) {
      invalid(
        option,
        given,
        "a string, a number, an array of strings, or undefined to remove it, with a valid name and only characters that a header may have",
        cause,
      );
    }
  }
}
