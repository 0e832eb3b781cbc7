import { expect, test } from "vitest";
import { exploreAll } from "./explore.ts";
import { releasing, returning, starting } from "./scenarios.ts";

// The larger ones are in explore.lab.test.ts and `./run soak claims`.
test.each([starting(2, 0, 0), starting(2, 1, 0), releasing(0, 0, false), returning(0, 0)])(
  "every course of: $name",
  { timeout: 60_000 },
  (scenario) => expect(exploreAll(scenario, 10_000).isComplete).toBe(true),
);
