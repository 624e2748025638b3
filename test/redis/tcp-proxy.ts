import { connect, createServer, type AddressInfo, type Socket } from "node:net";

/** One address for several ports: each connection goes to the next one that accepts it. It can be cut. */
export class TcpProxy {
  port = 0;
  /** How many connections have been tried. */
  connections = 0;
  readonly #targets: () => readonly number[];
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((socket) => this.#accept(socket));
  #state: "open" | "cut" = "open";

  constructor(targets: () => readonly number[]) {
    this.#targets = targets;
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.port = (this.#server.address() as AddressInfo).port;
    return this;
  }

  /** Ends every connection, and each that comes, until `mend`. */
  cut(): void {
    this.#state = "cut";
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  mend(): void {
    this.#state = "open";
  }

  close(): void {
    this.cut();
    this.#server.close();
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
      socket.pipe(target).pipe(socket);
      target.once("close", () => socket.resetAndDestroy());
      socket.once("close", () => target.destroy());
    });
  }

  #watch(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => {}).once("close", () => this.#sockets.delete(socket));
  }
}
