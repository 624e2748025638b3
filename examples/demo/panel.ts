import type { DemoBroker } from "./broker.js";

/** What the server hands to each panel. */
export interface PanelTools {
  readonly broker: DemoBroker;
  /** Writes a line to the server's log, which the page shows too. */
  readonly log: (line: string) => void;
  /** Runs work beside the requests until the server stops; a failure goes to the log. */
  readonly run: (work: (signal: AbortSignal) => Promise<void>) => void;
  /** Closes the server with everything it remembers, and starts it again on the same port. */
  readonly restart: () => void;
}
