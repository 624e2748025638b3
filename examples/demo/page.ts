import { fileURLToPath } from "node:url";
import express, { Router } from "express";

const folder = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** The page: static files, the two libraries it uses, and the panels' own source text. */
export function page(): Router {
  return Router()
    .use((_req, res, next) => {
      // The page needs nothing from elsewhere, and this proves it.
      res.set(
        "Content-Security-Policy",
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
      );
      res.set("X-Content-Type-Options", "nosniff");
      next();
    })
    .use(express.static(folder("public")))
    .use("/vendor/uplot", express.static(folder("../../node_modules/uplot/dist")))
    .use("/vendor/eventsource-parser", express.static(folder("../../node_modules/eventsource-parser/dist")))
    .get("/README.md", (_req, res) => res.type("text/plain").sendFile(folder("../../README.md")))
    .use(
      "/code",
      express.static(folder("panels"), {
        setHeaders: (res) => void res.set("Content-Type", "text/plain; charset=utf-8"),
      }),
    );
}
