import { constants, gunzipSync } from "node:zlib";

/** An answer as it came over the wire. */
export interface Answer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  /** The part of the body that came, without chunked coding and compression. */
  readonly body: Buffer;
  /** Whether the answer is complete. It is not if the connection ended too early. */
  readonly isWhole: boolean;
}

/**
 * Reads the answers to `methods` from everything that a connection brought.
 *
 * @throws if the bytes are not valid HTTP/1.1
 */
export function readAnswers(bytes: Buffer, methods: readonly string[]): Answer[] {
  const answers: Answer[] = [];
  let rest = bytes;
  for (const method of methods) {
    const end = rest.indexOf("\r\n\r\n");
    if (end === -1) break;
    const { status, headers } = readHead(rest.toString("latin1", 0, end));
    rest = rest.subarray(end + 4);
    const { body, isWhole, length } = readBody(rest, method, status, headers);
    answers.push({ status, headers, body: headers.get("content-encoding") === "gzip" ? inflate(body) : body, isWhole });
    rest = rest.subarray(length);
    if (!isWhole) break;
  }
  if (answers.length === methods.length && rest.length > 0)
    throw new Error(`Bytes after the last answer: ${show(rest)}`);
  return answers;
}

function readHead(text: string): { status: number; headers: ReadonlyMap<string, string> } {
  const [first = "", ...lines] = text.split("\r\n");
  const status = /^HTTP\/1\.1 (\d{3}) [\w ]+$/.exec(first)?.[1];
  if (status === undefined) throw new Error(`No status line: ${show(Buffer.from(text, "latin1"))}`);
  const headers = new Map<string, string>();
  for (const line of lines) {
    const [, name = "", value = ""] = /^([\w-]+): ([^\r\n]*)$/.exec(line) ?? [];
    if (name === "") throw new Error(`No header: ${JSON.stringify(line)}`);
    headers.set(name.toLowerCase(), value);
  }
  return { status: Number(status), headers };
}

interface Body {
  readonly body: Buffer;
  readonly isWhole: boolean;
  /** How many of the connection's bytes the body took. */
  readonly length: number;
}

function readBody(bytes: Buffer, method: string, status: number, headers: ReadonlyMap<string, string>): Body {
  if (method === "HEAD" || status === 204 || status === 304) return { body: Buffer.alloc(0), isWhole: true, length: 0 };
  if (headers.get("transfer-encoding") === "chunked") return readChunks(bytes);
  const declared = headers.get("content-length");
  // Such a body lasts until the connection ends.
  if (declared === undefined) return { body: bytes, isWhole: true, length: bytes.length };
  const body = bytes.subarray(0, Number(declared));
  return { body, isWhole: body.length === Number(declared), length: body.length };
}

function readChunks(bytes: Buffer): Body {
  const chunks: Buffer[] = [];
  let at = 0;
  for (;;) {
    const end = bytes.indexOf("\r\n", at);
    const line = bytes.toString("latin1", at, end === -1 ? bytes.length : end);
    if (!/^[0-9a-f]*$/i.test(line.replace(/\r$/, "")) || line.length > 8)
      throw new Error(`No chunk size: ${show(bytes.subarray(at))}`);
    if (end === -1) break;
    const length = Number.parseInt(line, 16);
    const start = end + 2;
    const chunk = bytes.subarray(start, start + length);
    chunks.push(chunk);
    at = start + length;
    const after = bytes.toString("latin1", at, at + 2);
    if (!"\r\n".startsWith(after))
      throw new Error(`No line break after a chunk of ${length}: ${show(bytes.subarray(at))}`);
    if (after.length < 2) break;
    at += 2;
    if (length === 0) return { body: Buffer.concat(chunks), isWhole: true, length: at };
  }
  return { body: Buffer.concat(chunks), isWhole: false, length: bytes.length };
}

/** Inflates as much of a gzip body as has come. */
function inflate(body: Buffer): Buffer {
  return body.length < 10 ? Buffer.alloc(0) : gunzipSync(body, { finishFlush: constants.Z_SYNC_FLUSH });
}

export function show(bytes: Buffer): string {
  const text = JSON.stringify(bytes.toString("latin1", 0, 200));
  return bytes.length > 200 ? `${text}… (${bytes.length} bytes)` : text;
}
