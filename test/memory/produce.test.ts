import { memoryBroker } from "express-event-source";
import { produceContract } from "../broker/contract-produce.js";
import { memory, useVirtualAge } from "./memory.js";

useVirtualAge();

produceContract("memoryBroker", { ...memory, open: (history) => memoryBroker({ history }) });
