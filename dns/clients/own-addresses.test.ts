import { expect, test } from "vitest";
import { ownAddresses } from "./own-addresses.ts";

test("ownAddresses() knows what interfaces have, a second after a change at the latest", () => {
  let nowMs = 5;
  let reads = 0;
  let eth0 = [{ address: "192.0.2.7" }, { address: "fd00::7" }];
  const isOwn = ownAddresses({ nowMs: () => 0, monotonicMs: () => nowMs }, () => {
    reads++;
    return { lo: [{ address: "::1" }], eth0, eth1: undefined };
  });
  const seen = (): readonly boolean[] => ["::1", "192.0.2.7", "fd00::7", "fd00::8"].map(isOwn);
  expect(seen()).toEqual([true, true, true, false]);
  eth0 = [{ address: "fd00::8" }];
  nowMs += 999;
  expect(seen()).toEqual([true, true, true, false]);
  expect(reads).toBe(1);
  nowMs += 1;
  expect(seen()).toEqual([true, false, false, true]);
  expect(reads).toBe(2);
});
