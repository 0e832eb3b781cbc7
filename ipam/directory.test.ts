import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Log, silentLog } from "../core/log.ts";
import { add, createDataDir, key, ranges } from "../test/ipam/lease-directory.ts";

test("a directory in the place of last_reserved_ip.0 is warned of, and refuses nobody", async () => {
  using data = createDataDir();
  mkdirSync(join(data.path, "mynet/last_reserved_ip.0"), { recursive: true });
  const warnings: unknown[] = [];
  const warn: Log["warn"] = ({ sets }, message) => warnings.push([message, sets]);
  const small = ranges("10.1.2.0/29");
  const first = data.open({ log: { ...silentLog, warn } });
  expect(await add(first, key("a"), { ranges: small })).toEqual(["10.1.2.2"]);
  expect(await add(data.open(), key("b"), { ranges: small })).toEqual(["10.1.2.3"]);
  expect(warnings).toEqual([["cannot keep where the round robin stands", [0]]]);
});
