import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { Socket } from "node:net";
import { redisBroker } from "express-event-source/redis";
import { onTestFinished } from "vitest";
import type { TestClient } from "./clients.js";

/** The size of the second event of `sentMeanwhile`. */
export const size = 10_000;

/** Publishes two events that wait for one another: how many bytes have been sent when the caller of the first goes on. */
export async function sentMeanwhile(open: () => Promise<TestClient>): Promise<number> {
  const sockets: Socket[] = [];
  const collect = (message: unknown) => void sockets.push((message as { socket: Socket }).socket);
  subscribe("net.client.socket", collect);
  const { client, close } = await open();
  onTestFinished(() => {
    close();
    unsubscribe("net.client.socket", collect);
  });
  const sent = () => sockets.reduce((bytes, socket) => bytes + socket.bytesWritten, 0);
  const broker = redisBroker({ client, prefix: "sent meanwhile:" });
  await broker.publish("a", { data: "Redis knows the script now" });
  const before = sent();
  const publishing = ["first", "x".repeat(size)].map((data) => broker.publish("a", { data }));
  await publishing[0];
  const meanwhile = sent() - before;
  await publishing[1];
  return meanwhile;
}
