import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryDirectory } from "../../support/temporary.ts";
import { soakClaims } from "./soak-processes.ts";

const seed = Number(process.env["FAIRLEAD_SOAK_SEED"] ?? Date.now() % 2 ** 31);

test(
  `20 processes claim at once and are killed: no block is held twice, none is left (seed ${seed})`,
  { timeout: 180_000 },
  async () => {
    const directory = join(temporaryDirectory(), "claims");
    const figures = await soakClaims({ directory, processes: 20, rounds: 2, seed });
    expect(figures.kills).toBe(40);
    // Else the kills came too early to prove anything.
    expect(figures.answers).toBeGreaterThan(40);
    expect(figures.interrupted).toBeGreaterThan(5);
  },
);
