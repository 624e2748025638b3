import { Router } from "express";
import { eventSource } from "express-event-source";
import type { PanelTools } from "../panel.js";

const items = ["tea", "coffee", "cake", "bread", "jam"];

export function ordersPanel({ postgres }: PanelTools): Router {
  /** The row and its event exist together once the transaction commits, or not at all. */
  async function order(isRolledBack: boolean) {
    const { database, broker } = await postgres();
    return database.transaction(async (tx) => {
      const item = items[Math.floor(Math.random() * items.length)];
      const { rows } = await tx.query("INSERT INTO orders (item) VALUES ($1) RETURNING id, item", [item]);
      await broker.publish("orders", { event: "order", data: rows[0] }, { client: tx });
      if (isRolledBack) await tx.rollback();
      return rows[0];
    });
  }

  return Router()
    .get(
      "/",
      eventSource(
        async (_req, stream) => {
          const { broker } = await postgres();
          return broker.subscribe("orders", { ...stream, from: "start" });
        },
        { retry: 500 },
      ),
    )
    .get("/table", async (_req, res) => {
      const { database } = await postgres();
      res.json((await database.query("SELECT id, item FROM orders ORDER BY id")).rows);
    })
    .post("/", async (_req, res) => void res.status(201).json(await order(false)))
    .post("/rolled-back", async (_req, res) => void res.json(await order(true)));
}
