import { validateHeaderName, validateHeaderValue } from "node:http";
import { invalidOption, isPlainObject } from "../checks.js";
import { show } from "../errors.js";
import { type HeaderList, headerList, type HeadersOption } from "./head.js";

/** Node sets these itself, because a stream has no known length. */
const framing = new Set(["content-length", "transfer-encoding", "trailer"]);

/**
 * Checks the option `headers` as Node would check them at the first request, and adds the defaults.
 *
 * @throws {EventStreamError} `ERR_INVALID_OPTION`, naming the header and its value
 */
export function checkHeaders(headers: unknown, name: string): HeaderList {
  if (!isPlainObject(headers)) {
    throw invalidOption(
      name,
      headers,
      'a plain object such as { "Cache-Control": "no-cache" } (Object.fromEntries makes one of Headers or a Map)',
    );
  }
  // A copy: what the application does to its headers afterwards has not been checked.
  const list = Object.entries(headers).map(copyOf);
  for (const [header, value] of list) {
    const option = `${name}[${show(header)}]`;
    if (framing.has(header.toLowerCase())) {
      throw invalidOption(option, value, "left out: an event stream has no length and is framed by Node");
    }
    try {
      validateHeaderName(header);
      if (value === undefined) continue;
      for (const line of [value].flat()) checkLine(header, line);
    } catch (cause) {
      throw invalidOption(
        option,
        value,
        "a string, a number, an array of strings, or undefined to remove it, with a valid name and only characters that a header may have",
        cause,
      );
    }
  }
  return headerList(list);
}

function copyOf([header, value]: [string, unknown]): HeaderList[number] {
  return [header, (Array.isArray(value) ? [...(value as unknown[])] : value) as HeadersOption[string]];
}

function checkLine(header: string, value: unknown): void {
  if (typeof value !== "string" && typeof value !== "number") throw new TypeError(`${show(value)} is no header value`);
  validateHeaderValue(header, String(value));
}
