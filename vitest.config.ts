import { defineConfig } from "vitest/config";

const exclude = ["node_modules/**", "toolchain/**", "dist/**"];

// unit: beside the code, no I/O that matters, no privilege. contract and lab: real kernel, root,
// each inside network namespaces that it creates; one file at a time, so that two cores suffice.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["**/*.test.ts"],
          exclude: [...exclude, "**/*.lab.test.ts", "**/*.contract.test.ts"],
          // Against hanging alone: under load a search through random input takes its time.
          testTimeout: 60_000,
        },
      },
      {
        test: {
          name: "contract",
          include: ["**/*.contract.test.ts"],
          exclude,
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          expect: { poll: { timeout: 30_000 } },
        },
      },
      {
        test: {
          name: "lab",
          include: ["**/*.lab.test.ts"],
          exclude,
          fileParallelism: false,
          // Against hanging alone: what a lab waits for has bounds of its own.
          testTimeout: 120_000,
          hookTimeout: 120_000,
          expect: { poll: { timeout: 30_000 } },
        },
      },
    ],
  },
});
