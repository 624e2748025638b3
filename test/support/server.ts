import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

export interface TestServer {
  readonly server: Server;
  readonly port: number;
  /** For example `http://127.0.0.1:41234`, without a slash at the end. */
  readonly url: string;
}

/** Listens on a free port of the loopback interface until the test is over. */
export async function serve(app: RequestListener, server: Server = createServer()): Promise<TestServer> {
  server.on("request", app);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  return { server, port, url: `http://127.0.0.1:${port}` };
}
