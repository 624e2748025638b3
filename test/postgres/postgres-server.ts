import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { accessSync, chownSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, Pool, type PoolConfig } from "pg";
import { afterAll, beforeAll, describe } from "vitest";
import { freePort } from "../redis/redis-server.js";

/** Debian keeps the programs of each version in a folder of its own, which is not on the search path. */
const folder = ["18", "17", "16", "15", "14", "13"]
  .map((version) => `/usr/lib/postgresql/${version}/bin`)
  .find((path) => {
    try {
      accessSync(join(path, "postgres"));
      return true;
    } catch {
      return false;
    }
  });

/** Postgres refuses to run as root. */
export function unprivileged(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const line =
    readFileSync("/etc/passwd", "utf8")
      .split("\n")
      .find((user) => /^postgres:/.test(user)) ?? "::65534:65534";
  const [, , uid, gid] = line.split(":");
  return { uid: Number(uid), gid: Number(gid) };
}

/** `describe` with a Postgres of its own. Where it is not installed the tests are left out, except on CI, where they fail. */
export function describeWithPostgres(
  name: string,
  suite: (postgres: PostgresServer) => void,
  settings: readonly string[] = [],
): void {
  const isTried = folder !== undefined || process.env["CI"] === "true";
  if (!isTried) console.warn(`The tests "${name}" are left out: postgresql not installed.`);
  describe.skipIf(!isTried)(name, () => {
    const postgres = new PostgresServer(settings);
    beforeAll(() => postgres.start());
    afterAll(() => postgres.remove());
    suite(postgres);
  });
}

/** A real server on a free port, in a folder of its own, which can be killed and started again with what it has stored. */
export class PostgresServer {
  port = 0;
  readonly #settings: readonly string[];
  readonly #pools: Pool[] = [];
  #directory = "";
  #process: ChildProcess | undefined;

  constructor(settings: readonly string[] = []) {
    this.#settings = settings;
  }

  get config(): PoolConfig {
    return { host: "127.0.0.1", port: this.port, user: "postgres", database: "postgres", password: "secret" };
  }

  get url(): string {
    return `postgres://postgres:secret@127.0.0.1:${this.port}/postgres`;
  }

  /** A pool that is ended with the server. */
  pool(config: PoolConfig = {}): Pool {
    const pool = new Pool({ ...this.config, ...config });
    // What Postgres says to idle clients when it goes.
    pool.on("error", () => {});
    this.#pools.push(pool);
    return pool;
  }

  async start(): Promise<void> {
    if (this.port !== 0) return this.#run();
    this.#fill("initdb", ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]);
    await this.#runOnFreePort();
  }

  /** A server that follows this one, until it is promoted. */
  async replica(): Promise<PostgresServer> {
    const replica = new PostgresServer(this.#settings);
    const primary = ["-h", "127.0.0.1", "-p", String(this.port), "-U", "postgres"];
    replica.#fill("pg_basebackup", [...primary, "--write-recovery-conf", "--checkpoint=fast"]);
    await replica.#runOnFreePort();
    return replica;
  }

  /** Has a program make the data in a folder of its own. */
  #fill(program: string, options: readonly string[]): void {
    if (folder === undefined) throw new Error("No PostgreSQL in /usr/lib/postgresql.");
    const identity = unprivileged();
    this.#directory = mkdtempSync(join(tmpdir(), "postgres-test-"));
    if (identity.uid !== undefined) chownSync(this.#directory, identity.uid, identity.gid as number);
    const given = ["-D", this.#data, "--no-sync", ...options];
    execFileSync(join(folder, program), given, { ...identity, cwd: this.#directory, stdio: "ignore" });
  }

  async #runOnFreePort(): Promise<void> {
    for (let tries = 1; ; tries++) {
      this.port = await freePort();
      try {
        return await this.#run();
      } catch (error) {
        // Something else may have taken the port in the meantime.
        if (tries === 5) throw error;
      }
    }
  }

  get #data(): string {
    return join(this.#directory, "data");
  }

  async #run(): Promise<void> {
    const settings = [
      "listen_addresses=127.0.0.1",
      `unix_socket_directories=${this.#directory}`,
      "max_connections=200",
      "log_min_messages=fatal",
      ...this.#settings,
    ].flatMap((setting) => ["-c", setting]);
    const args = ["-D", this.#data, "-p", String(this.port), ...settings];
    const options = { ...unprivileged(), cwd: this.#directory, stdio: "ignore" } as const;
    const child = spawn(join(folder as string, "postgres"), args, options);
    this.#process = child;
    while (!(await this.#accepts())) {
      if (child.exitCode !== null) throw new Error(`postgres ended with ${child.exitCode}: ${args.join(" ")}`);
      await sleep(20);
    }
  }

  /** Whether this server answers: another one may have the port, and this one be about to end for that. */
  async #accepts(): Promise<boolean> {
    const client = new Client(this.config);
    client.on("error", () => {});
    try {
      await client.connect();
      const { rows } = await client.query<{ data_directory: string }>("SHOW data_directory");
      return rows[0]?.data_directory === this.#data;
    } catch {
      return false;
    } finally {
      await client.end().catch(() => {});
    }
  }

  get pid(): number {
    return this.#process?.pid as number;
  }

  /** Ends it as `kill -9` of the postmaster does: its children go by themselves, soon. */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exit = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await exit;
  }

  async remove(): Promise<void> {
    await Promise.all(this.#pools.filter(({ ended }) => !ended).map((pool) => pool.end()));
    // SIGQUIT takes the children along.
    await this.kill("SIGQUIT");
    rmSync(this.#directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  }
}
