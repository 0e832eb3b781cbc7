import { expect, test } from "vitest";
import { injectFaults } from "./faults.ts";

const durationMs = Number(process.env["FAIRLEAD_FAULTS_MS"] ?? 5_000);
const seed = Number(process.env["FAIRLEAD_SEED"] ?? Date.now() % 2 ** 31);

test(
  `puts right whatever is removed or altered, and nothing else (seed ${seed})`,
  async () => {
    const figures = await injectFaults({ durationMs, seed });
    process.stdout.write(`${JSON.stringify(figures)}\n`);
    expect(figures.faults).toBeGreaterThan(3);
    expect(Object.values(figures.repairs).reduce((sum, count) => sum + count)).toBeGreaterThan(3);
    expect(figures.traffic.returned).toBeGreaterThan(0);
  },
  durationMs + 120_000,
);
