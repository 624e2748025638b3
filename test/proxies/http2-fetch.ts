import { type ClientHttp2Session, connect } from "node:http2";
import { Readable } from "node:stream";
import { onTestFinished } from "vitest";

/**
 * A `fetch` over HTTP/2, which Node's own does not speak, for a server with this certificate: all
 * its requests share one connection, as a browser's do.
 */
export function http2Fetch(certificate: string): typeof fetch {
  let session: ClientHttp2Session | undefined;
  onTestFinished(() => session?.destroy());

  return (input, { method = "GET", headers, signal } = {}) =>
    new Promise((resolve, reject) => {
      const url = new URL(input as string | URL);
      if (session === undefined || session.closed || session.destroyed) {
        session = connect(url.origin, { ca: certificate }).on("error", reject);
      }
      const fields = Object.fromEntries(new Headers(headers));
      const stream = session.request(
        { ":method": method, ":path": url.pathname + url.search, ...fields },
        { ...(signal ? { signal } : {}) },
      );
      stream.on("error", reject);
      stream.on("close", () => reject(new TypeError("The connection was lost")));
      stream.on("response", ({ ":status": status, ...answered }) => {
        const kept = Object.entries(answered).flatMap(([name, value]) =>
          [value].flat().map((one) => [name, String(one)] as [string, string]),
        );
        const body = status === 204 ? null : (Readable.toWeb(stream) as ReadableStream);
        const response = new Response(body, { status: status as number, headers: kept });
        resolve(Object.defineProperty(response, "url", { value: url.href }));
      });
    });
}
