import type { Broker } from "express-event-source";
import type { Postgres } from "./database.js";
import type { Writer } from "./writer.js";

/** What the server hands to each panel. */
export interface PanelTools {
  readonly broker: Broker;
  /** Orders and answers are kept there. */
  readonly postgres: () => Promise<Postgres>;
  /** Writes the answers, in a process of its own. */
  readonly writer: Writer;
  /** Writes a line to the server's log, which the page shows too. */
  readonly log: (line: string) => void;
  /** Runs work beside the requests until the server stops; a failure goes to the log. */
  readonly run: (work: (signal: AbortSignal) => Promise<void>) => void;
  /** Closes the server with everything that it has in memory, and starts it again on the same port. */
  readonly restart: () => void;
}
