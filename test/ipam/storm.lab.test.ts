import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { storm } from "./storm.ts";

const seed = Number(process.env["FAIRLEAD_SEED"] ?? Date.now() % 2 ** 31);

beforeAll(() => {
  const root = join(import.meta.dirname, "../..");
  execFileSync(process.execPath, ["scripts/build.ts"], { cwd: root, stdio: "pipe" });
});

test(`hl-alloc-42: host-local and ours, 20 at once, never give an address to two (seed ${seed})`, async () => {
  const { requests, added, passedOn } = await storm({ turns: 15, seed });
  for (const count of Object.values(requests)) expect(count).toBeGreaterThan(3);
  // Else nobody met anybody.
  expect(added).toBeGreaterThan(60);
  expect(passedOn).toBeGreaterThan(20);
}, 120_000);

test(`hl-disk-27: killed at random moments, they lose, leak and share no address (seed ${seed})`, async () => {
  const { kills, added } = await storm({ turns: 5, kills: 120, seed });
  for (const count of Object.values(kills)) expect(count).toBeGreaterThan(0);
  expect(added).toBeGreaterThan(20);
}, 120_000);
