import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { soakCni } from "./soak.ts";

const count = 40;
const seed = Number(process.env["FAIRLEAD_SOAK_SEED"] ?? Date.now() % 2 ** 31);

beforeAll(() => {
  execFileSync(process.execPath, ["scripts/build.ts"], { cwd: join(import.meta.dirname, "../..") });
});

test(`rt-19: ${count} pods whose launchers and daemon are killed leave nothing (seed ${seed})`, () => {
  const figures = soakCni({ count, seed, workers: 4 });
  expect(figures.pairs).toBe(count);
  // Else it proves nothing.
  expect(figures.launcherKills).toBeGreaterThan(0);
  expect(figures.daemonKills).toBeGreaterThan(0);
  expect(figures.collections).toBeGreaterThan(0);
}, 180_000);
