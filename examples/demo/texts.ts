import type { RequestHandler } from "express";

/** Refuses a JSON body in which one of these fields is not a text of 1 to so many characters. */
export function texts(limits: Record<string, number>): RequestHandler {
  return (req, res, next) => {
    const body = req.body as Record<string, unknown> | undefined;
    for (const [name, limit] of Object.entries(limits)) {
      const value = body?.[name];
      if (typeof value !== "string" || value.trim() === "" || value.length > limit) {
        res.status(400).json({ error: `${name} must be a text of 1 to ${limit} characters` });
        return;
      }
    }
    next();
  };
}
