// A disk without room, for content or for names: a clear error, nothing half held, and DEL works.
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";

test.each([
  ["octets", "size=64k"],
  ["files", "size=4m,nr_inodes=24"],
])("a disk without more %s refuses an ADD and loses no lease", (_what, options) => {
  const script = join(import.meta.dirname, "full-disk-scenario.ts");
  const said: unknown = JSON.parse(
    execFileSync("unshare", ["--mount", process.execPath, script, options], {
      encoding: "utf8",
      timeout: 60_000,
    }),
  );
  expect(said).toMatchObject({ isAsTold: true, isWhole: true });
  const { first, second, errors } = said as { first: number; second: number; errors: string[] };
  expect(first).toBeGreaterThan(5);
  expect(second).toBeGreaterThanOrEqual(first / 2 - 2);
  expect(errors).not.toEqual([]);
  for (const error of errors) {
    expect(error).toMatch(/^5 Cannot keep the leases in "\/mnt\/networks\/mynet": ENOSPC/);
  }
});
