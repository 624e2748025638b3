/** Whether `value` is a response of Node's, or a test double of one. */
export function isResponse(value: unknown): boolean {
  return typeof (value as { writeHead?: unknown } | null | undefined)?.writeHead === "function";
}
