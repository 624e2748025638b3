import { createServer, type Server } from "node:https";
import type { Socket } from "node:net";
import { connect } from "node:tls";
import { generate } from "selfsigned";

const pems = generate([{ name: "commonName", value: "127.0.0.1" }], { keyType: "ec" });

/** An https server with a certificate that was made for the moment. */
export async function tlsServer(): Promise<Server> {
  const { private: key, cert } = await pems;
  return createServer({ key, cert });
}

/** A connection to it, for a `RawClient`. */
export function tlsConnection(port: number): Socket {
  return connect({ port, host: "127.0.0.1", rejectUnauthorized: false });
}
