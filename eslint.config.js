import js from "@eslint/js";
import { defineConfig } from "eslint/config";
import ts from "typescript-eslint";

export default defineConfig(
  { ignores: ["dist", "coverage", "docs", "test/bench", "test/ecosystem", "**/node_modules"] },
  js.configs.recommended,
  {
    files: ["**/*.ts"],
    extends: [ts.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      // A promise that nobody waits for hides its failure; `void` says that this is meant.
      "@typescript-eslint/no-floating-promises": ["error", { ignoreVoid: true }],
      "@typescript-eslint/consistent-type-imports": ["error", { fixStyle: "inline-type-imports" }],
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      // What a source throws, and what it yields, is the application's business.
      "@typescript-eslint/only-throw-error": "off",
      "@typescript-eslint/no-empty-object-type": "off",
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true }],
      // Async functions and generators without `await` are how promises and streams are declared.
      "@typescript-eslint/require-await": "off",
      eqeqeq: "error",
      "no-console": "error",
      "prefer-const": "error",
    },
  },
  {
    files: ["src/**/*.ts"],
    rules: {
      "@typescript-eslint/explicit-module-boundary-types": "error",
      "@typescript-eslint/no-non-null-assertion": "error",
      "@typescript-eslint/no-explicit-any": "error",
      // The library loads nothing but Node's own modules, and those by their full names.
      "no-restricted-imports": [
        "error",
        {
          patterns: [
            { regex: "^(fs|http|net|stream|events|crypto|util|timers)(/|$)", message: "Write node:… instead." },
          ],
        },
      ],
    },
  },
  {
    files: ["test/**/*.ts", "examples/**/*.ts"],
    rules: {
      "no-console": "off",
      // Express hands request bodies over as `any`, and tests look into private places.
      "@typescript-eslint/no-unsafe-assignment": "off",
      "@typescript-eslint/no-unsafe-member-access": "off",
      "@typescript-eslint/no-unsafe-argument": "off",
      "@typescript-eslint/no-unsafe-call": "off",
      "@typescript-eslint/no-unsafe-return": "off",
      "@typescript-eslint/no-explicit-any": "off",
      "@typescript-eslint/no-misused-promises": ["error", { checksVoidReturn: false }],
      "@typescript-eslint/unbound-method": "off",
      "@typescript-eslint/no-base-to-string": "off",
      "@typescript-eslint/prefer-promise-reject-errors": "off",
      // A source that yields nothing is a source.
      "require-yield": "off",
    },
  },
  {
    files: ["test/types/**/*.ts"],
    rules: {
      // What is compiled here is never run, and the lines say themselves why they must not compile.
      "@typescript-eslint/no-unused-vars": "off",
      "@typescript-eslint/ban-ts-comment": "off",
    },
  },
  {
    files: ["examples/**/*.cjs"],
    languageOptions: { globals: { console: "readonly", process: "readonly" } },
  },
  {
    files: ["examples/demo/public/**/*.js", "examples/pages/*.js"],
    languageOptions: {
      globals: Object.fromEntries(
        [
          "AbortController",
          "AbortSignal",
          "BroadcastChannel",
          "MutationObserver",
          "CSS",
          "CustomEvent",
          "document",
          "EventSource",
          "fetch",
          "FormData",
          "IntersectionObserver",
          "location",
          "matchMedia",
          "navigator",
          "performance",
          "ResizeObserver",
          "requestAnimationFrame",
          "cancelAnimationFrame",
          "sessionStorage",
          "localStorage",
          "setInterval",
          "clearInterval",
          "setTimeout",
          "clearTimeout",
          "TextDecoder",
          "TextDecoderStream",
          "URL",
          "URLSearchParams",
          "window",
          "console",
          "crypto",
          "getComputedStyle",
          "structuredClone",
          "history",
          "HTMLElement",
          "uPlot",
          "queueMicrotask",
        ].map((name) => [name, "readonly"]),
      ),
    },
  },
);
