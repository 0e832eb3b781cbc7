import { expect, test } from "vitest";
import { soakKills } from "./soak-kill.ts";

const count = Number(process.env["FAIRLEAD_SOAK_KILLS"] ?? 50);
const seed = Number(process.env["FAIRLEAD_SOAK_SEED"] ?? Date.now() % 2 ** 31);

test(
  `hl-disk-27: ${count} kills lose and leak no address (seed ${seed})`,
  async () => {
    const figures = await soakKills({ count, seed });
    expect(figures.kills).toBeGreaterThanOrEqual(count);
    // Else the kills came too early or late to prove anything.
    expect(figures.requests).toBeGreaterThan(count * 2);
    expect(figures.interrupted).toBeGreaterThan(count / 4);
  },
  60_000 + count * 1_000,
);
