import base from "../vitest.config.js";

/** What takes long: stores that are killed, cut off and exhausted. `npm run test:faults`. */
export default { ...base, test: { ...base.test, include: ["test/**/*.faults.ts"], testTimeout: 60_000 } };
