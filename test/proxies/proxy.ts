import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { FetchLike } from "eventsource";
import { generate } from "selfsigned";
import { onTestFinished } from "vitest";
import { http2Fetch } from "./http2-fetch.js";

/** What a test changes in a configuration: `[text that is there, text that takes its place]`. */
export type Change = readonly [text: string, by: string];

interface Kind {
  readonly file: string;
  /** The program's arguments, for a configuration and a folder that belong to the test. */
  readonly command: (configuration: string, folder: string) => readonly [program: string, ...rest: string[]];
  /** Where it listens, and what keeps it inside its folder. */
  readonly changes: (port: number, folder: string) => readonly Change[];
}

const kinds = {
  nginx: {
    file: "nginx.conf",
    command: (configuration, folder) => [
      "nginx",
      "-p",
      folder,
      "-e",
      "stderr",
      "-c",
      configuration,
      "-g",
      "daemon off; pid nginx.pid;",
    ],
    changes: (port) => [
      ["listen 8080", `listen 127.0.0.1:${port}`],
      [
        "http {",
        `http { access_log off; ${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${name};`).join(" ")}`,
      ],
    ],
  },
  haproxy: {
    file: "haproxy.cfg",
    command: (configuration) => ["haproxy", "-db", "-f", configuration],
    changes: (port) => [["bind :8080", `bind 127.0.0.1:${port}`]],
  },
  caddy: {
    file: "Caddyfile",
    command: (configuration) => ["caddy", "run", "--adapter", "caddyfile", "--config", configuration],
    changes: (port, folder) => [
      ["grace_period 5s", "grace_period 100ms\nadmin off\nauto_https disable_redirects"],
      ["example.com {", `https://localhost:${port} {\nbind 127.0.0.1\ntls ${folder}/cert.pem ${folder}/key.pem`],
    ],
  },
} satisfies Record<string, Kind>;

export type ProxyName = keyof typeof kinds;

/** A proxy of the system's, with the very configuration that the README shows but for its ports. */
export class Proxy {
  readonly url: string;
  /** Fetches through it: over HTTP/1.1, or, from Caddy, over HTTP/2. */
  readonly fetch: typeof fetch & FetchLike;
  readonly #command: readonly [string, ...string[]];
  readonly #folder: string;
  readonly #port: number;
  #process: ChildProcess | undefined;

  private constructor(name: ProxyName, port: number, folder: string, configuration: string, certificate: string) {
    this.#command = kinds[name].command(configuration, folder);
    this.#folder = folder;
    this.#port = port;
    this.url = name === "caddy" ? `https://localhost:${port}` : `http://127.0.0.1:${port}`;
    this.fetch = name === "caddy" ? http2Fetch(certificate) : fetch;
  }

  /** Starts one before the application that listens on `origin`, until the test is over. */
  static async start(name: ProxyName, origin: number, changes: readonly Change[] = []): Promise<Proxy> {
    const folder = mkdtempSync(join(tmpdir(), `${name}-`));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    // nginx, started by root, works as another user.
    chmodSync(folder, 0o755);
    mkdirSync(join(folder, "home"));
    const { cert, private: key } = await certificate();
    writeFileSync(join(folder, "cert.pem"), cert);
    writeFileSync(join(folder, "key.pem"), key);

    const port = await freePort();
    const kind: Kind = kinds[name];
    let text = readFileSync(fileURLToPath(new URL(`../../examples/proxies/${kind.file}`, import.meta.url)), "utf8");
    for (const [old, by] of [
      ["127.0.0.1:3000", `127.0.0.1:${origin}`] as const,
      ...kind.changes(port, folder),
      ...changes,
    ]) {
      if (!text.includes(old)) throw new Error(`${kind.file} has no ${JSON.stringify(old)}`);
      text = text.replaceAll(old, by);
    }
    const configuration = join(folder, kind.file);
    writeFileSync(configuration, text);

    const proxy = new Proxy(name, port, folder, configuration, cert);
    onTestFinished(() => proxy.stop());
    await proxy.start();
    return proxy;
  }

  /** Starts it, at first or again, and resolves when it listens. */
  async start(): Promise<void> {
    const [program, ...rest] = this.#command;
    const env = {
      ...process.env,
      PATH: `${process.env["PATH"]}:/usr/sbin`,
      HOME: join(this.#folder, "home"),
      XDG_CONFIG_HOME: "",
      XDG_DATA_HOME: "",
    };
    const child = spawn(program, rest, { cwd: this.#folder, env, stdio: ["ignore", "ignore", "pipe"] });
    this.#process = child;
    let said = "";
    let failure: Error | undefined;
    child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
    child.on("error", (error) => (failure = error));
    child.on("exit", () => (failure ??= new Error(`${program} did not start. It said:\n${said}`)));
    while (!(await listens(this.#port))) if (failure !== undefined) throw failure;
  }

  /** Stops it as an operator does; open streams are cut. */
  async stop(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGTERM");
    await exited;
  }
}

let made: ReturnType<typeof generate> | undefined;

function certificate(): ReturnType<typeof generate> {
  return (made ??= generate([{ name: "commonName", value: "localhost" }], {
    keyType: "ec",
    extensions: [{ name: "subjectAltName", altNames: [{ type: 2, value: "localhost" }] }],
  }));
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** Whether something listens; where nothing does, it takes some milliseconds to say so. */
function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => setTimeout(resolve, 10, false));
  });
}
