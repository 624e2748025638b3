/** How much of each channel the demo's brokers keep. All that share a store must say the same. */
export const history = { maxEvents: 1_000, maxAge: 3_600_000 };
