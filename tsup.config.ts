import { defineConfig } from "tsup";

export default defineConfig({
  entry: ["src/index.ts", "src/redis.ts", "src/postgres.ts"],
  format: ["esm", "cjs"],
  target: "node20",
  tsconfig: "tsconfig.build.json",
  // tsup's own declaration build still sets `baseUrl`, which TypeScript 6 deprecates.
  dts: { compilerOptions: { ignoreDeprecations: "6.0" } },
  // Both entries share their chunks, so a class is the same class behind both doors.
  splitting: true,
  removeNodeProtocol: false,
  sourcemap: true,
  clean: true,
});
