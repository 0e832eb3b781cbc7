import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const guide = readFileSync(join(import.meta.dirname, "../docs/guide.md"), "utf8");

/** What every Linux with the GNU C library has, and the kernel's own. */
const given = /^(ld-linux|linux-vdso|libc$|libdl$|libm$|libpthread$|librt$)/;

test("the guide names every library of the system that Node needs", () => {
  const libraries = execFileSync("ldd", [process.execPath], { encoding: "utf8" })
    .split("\n")
    .flatMap((line) => /^\s*(?:\S*\/)?([^\s/]+?)\.so/.exec(line)?.[1] ?? [])
    .filter((library) => !given.test(library));
  expect(libraries.length).toBeGreaterThan(0);
  expect(libraries.filter((library) => !guide.includes(`\`${library}\``))).toEqual([]);
});
