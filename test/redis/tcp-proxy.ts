import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** What is done to a connection's bytes from the server; `undefined` swallows them. */
export type Filter = (chunk: Buffer) => Buffer | undefined;

/** One address for several ports: each connection goes to the next one that accepts it. It can be cut, stalled and slowed down. */
export class TcpProxy {
  port = 0;
  /** How many connections have been tried. */
  connections = 0;
  /** How many bytes have come from the servers. */
  bytes = 0;
  /** Bytes a second from the servers, all connections together. */
  rate = Infinity;
  /** Applied to what comes from the servers. */
  filter: Filter | undefined;
  readonly #targets: () => readonly number[];
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((socket) => this.#accept(socket));
  #state: "open" | "cut" | "stalled" = "open";
  #mended: (() => void)[] = [];
  /** When the link is free again. */
  #free = 0;

  constructor(targets: () => readonly number[]) {
    this.#targets = targets;
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.port = (this.#server.address() as AddressInfo).port;
    return this;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Ends every connection, and each that comes, until `mend`. */
  cut(): void {
    this.#state = "cut";
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Swallows every reply, until `mend`. Resolves with the first. */
  deafen(): Promise<void> {
    return new Promise((resolve) => (this.filter = () => resolve() as undefined));
  }

  /** Nothing comes through any more, and nothing says so, until `mend`. */
  stall(): void {
    this.#state = "stalled";
  }

  mend(): void {
    this.#state = "open";
    this.filter = undefined;
    for (const go of this.#mended.splice(0)) go();
  }

  close(): void {
    this.cut();
    this.#server.close();
    for (const go of this.#mended.splice(0)) go();
  }

  #accept(socket: Socket): void {
    const turn = this.connections++;
    this.#watch(socket);
    if (this.#state === "cut") socket.resetAndDestroy();
    else this.#forward(socket, turn, this.#targets().length);
  }

  #forward(socket: Socket, turn: number, tries: number): void {
    const targets = this.#targets();
    if (tries === 0) return void socket.resetAndDestroy();
    const target = connect({ host: "127.0.0.1", port: targets[turn % targets.length] as number });
    target.once("error", () => this.#forward(socket, turn + 1, tries - 1));
    target.once("connect", () => {
      target.removeAllListeners("error");
      this.#watch(target);
      void this.#carry(socket, target, false);
      void this.#carry(target, socket, true);
    });
  }

  async #carry(from: Socket, to: Socket, isReply: boolean): Promise<void> {
    try {
      for await (const chunk of from as AsyncIterable<Buffer>) {
        while (this.#state === "stalled") await new Promise<void>((resolve) => this.#mended.push(resolve));
        const passed = isReply && this.filter !== undefined ? this.filter(chunk) : chunk;
        if (isReply) {
          this.bytes += chunk.length;
          if (this.rate < Infinity) {
            this.#free = Math.max(this.#free, performance.now()) + (chunk.length / this.rate) * 1000;
            await sleep(this.#free - performance.now());
          }
        }
        if (passed !== undefined && !to.write(passed) && !to.destroyed)
          await new Promise<void>((resolve) => to.once("drain", resolve).once("close", resolve));
      }
    } catch {
      // The other side hears of it.
    }
    if (!to.destroyed) to.resetAndDestroy();
  }

  #watch(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => {}).once("close", () => this.#sockets.delete(socket));
  }
}
