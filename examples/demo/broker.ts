import { type Broker, memoryBroker } from "express-event-source";

/** The one place that picks a broker: this process's memory, which a restart of the server empties. */
export async function openBroker(): Promise<Broker> {
  return memoryBroker({ history: { maxEvents: 1_000 } });
}
