import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ConfigError } from "../../core/error.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { readSysctlRecord, rememberSysctl } from "./sysctl-record.ts";

test("the record keeps the first value of each setting", () => {
  const path = join(temporaryDirectory(), "state", "sysctls.json");
  expect(readSysctlRecord(path)).toEqual(new Map());
  rememberSysctl(path, "net/ipv4/ip_forward", "0");
  rememberSysctl(path, "net/ipv6/conf/all/forwarding", "0");
  rememberSysctl(path, "net/ipv4/ip_forward", "1");
  expect([...readSysctlRecord(path)]).toEqual([
    ["net/ipv4/ip_forward", "0"],
    ["net/ipv6/conf/all/forwarding", "0"],
  ]);
});

test("a damaged record is named by who reads it, and set aside by who adds to it", () => {
  const path = join(temporaryDirectory(), "sysctls.json");
  writeFileSync(path, "");
  expect(() => readSysctlRecord(path)).toThrow(ConfigError);
  rememberSysctl(path, "a", "1");
  expect([...readSysctlRecord(path)]).toEqual([["a", "1"]]);
  expect(readFileSync(`${path}.damaged`, "utf8")).toBe("");
});
