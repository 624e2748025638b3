import type { Fuzzed } from "./fuzz.js";
import { checkStreams } from "./streams/check.js";
import { type StreamProgram, streamProgram } from "./streams/program.js";

const streams: Fuzzed<StreamProgram> = { name: "streams", program: streamProgram, check: checkStreams, abreast: 24 };

export const fuzzed: readonly Fuzzed<unknown>[] = [streams as Fuzzed<unknown>];
