import fastifySse from "@fastify/sse";
import fastify from "fastify";
import { asked, makers, readyItems } from "../event.js";

/** It has no broadcast: its README loops over the replies, and so does this. */
export async function contender({ pingInterval }) {
  const app = fastify();
  const room = new Set();
  await app.register(fastifySse, { heartbeatInterval: pingInterval });
  app.get("/ready", { sse: { kind: "only" } }, async (request, reply) => {
    await reply.sse.send(readyItems(...asked(request.query)));
  });
  app.get("/hello", { sse: { kind: "only" } }, async (request, reply) => {
    reply.sse.keepAlive();
    await reply.sse.send(makers.event(0));
  });
  app.get("/room", { sse: { kind: "only" } }, async (request, reply) => {
    reply.sse.keepAlive();
    reply.sse.sendHeaders();
    reply.raw.flushHeaders();
    room.add(reply.sse);
    reply.sse.onClose(() => room.delete(reply.sse));
  });
  await app.ready();
  return {
    server: app.server,
    publish(n) {
      for (const sse of room) void sse.send(makers.event(n));
    },
  };
}
