/** Frameworks that stand on Express. */
import assert from "node:assert/strict";
import { test } from "node:test";
import "reflect-metadata";
import { Controller, Get, Module, Next, Req, Res } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { getTestServer } from "@google-cloud/functions-framework/testing";
import { http } from "@google-cloud/functions-framework";
import { eventSource, gate, listen, reader } from "./scene.js";

/** Applies decorators as TypeScript would compile them. */
function decorate(target, name, decorators, parameters = []) {
  parameters.forEach((decorator, index) => decorator(target.prototype, name, index));
  const descriptor = Object.getOwnPropertyDescriptor(target.prototype, name);
  for (const decorator of decorators) decorator(target.prototype, name, descriptor);
}

async function* steps(second, closed) {
  try {
    yield { id: 1, data: 1 };
    await second.opened;
    yield { id: 2, data: 2 };
  } finally {
    closed.open();
  }
}

async function checkSteps(url, second, closed) {
  const body = reader(await fetch(url));
  await body.until("id: 1\ndata: 1\n\n");
  second.open();
  assert.equal(await body.rest(), "id: 1\ndata: 1\n\nid: 2\ndata: 2\n\n");
  await closed.opened;
}

test("NestJS 11: a method of a controller", { timeout: 20_000 }, async () => {
  const [second, closed] = [gate(), gate()];
  class StepsController {
    stream(req, res, next) {
      return eventSource(() => steps(second, closed))(req, res, next);
    }
  }
  decorate(StepsController, "stream", [Get("steps")], [Req(), Res(), Next()]);
  Controller()(StepsController);
  class AppModule {}
  Module({ controllers: [StepsController] })(AppModule);
  const app = await NestFactory.create(AppModule, { logger: false });
  await app.listen(0, "127.0.0.1");
  try {
    await checkSteps(`${await app.getUrl()}/steps`, second, closed);
  } finally {
    await app.close();
  }
});

test("Google Cloud Functions", { timeout: 20_000 }, async () => {
  const [second, closed] = [gate(), gate()];
  http("steps", (req, res) => eventSource(() => steps(second, closed))(req, res));
  const { server, url } = await listen(undefined, getTestServer("steps"));
  try {
    await checkSteps(url, second, closed);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
