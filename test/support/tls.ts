import { createServer, type Server } from "node:https";
import type { Socket } from "node:net";
import { connect } from "node:tls";
import { generate } from "selfsigned";

/** A key and a certificate that are made for this run of the tests. */
export const credentials: Promise<{ key: string; cert: string }> = generate(
  [{ name: "commonName", value: "127.0.0.1" }],
  { keyType: "ec" },
).then(({ private: key, cert }) => ({ key, cert }));

/** An https server that uses these credentials. */
export async function tlsServer(): Promise<Server> {
  return createServer(await credentials);
}

/** A connection to a `tlsServer`, for a `RawClient`. */
export function tlsConnection(port: number): Socket {
  return connect({ port, host: "127.0.0.1", rejectUnauthorized: false });
}
