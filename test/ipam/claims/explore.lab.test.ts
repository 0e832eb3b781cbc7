import { expect, test } from "vitest";
import { seededRandom } from "../../support/random.ts";
import { exploreAll, exploreSome } from "./explore.ts";
import { releasing, returning, sharingName, starting } from "./scenarios.ts";

const seed = Number(process.env["FAIRLEAD_SOAK_SEED"] ?? Date.now() % 2 ** 31);

test.each([
  starting(2, 0, 1),
  starting(3, 0, 0),
  returning(0, 1),
  sharingName(1, 1),
  releasing(1, 0, false),
  releasing(0, 0, true),
])("every course of: $name", { timeout: 300_000 }, (scenario) => {
  expect(exploreAll(scenario, 100_000).isComplete).toBe(true);
});

test.each([starting(3, 4, 2), returning(4, 2), releasing(4, 1, true)])(
  `some courses of: $name (seed ${seed})`,
  { timeout: 300_000 },
  (scenario) => {
    expect(exploreSome(scenario, 1000, seededRandom(seed)).states).toBeGreaterThan(1000);
  },
);
