// What a full range has to say to requests.
import { afterEach, beforeEach, expect, test } from "vitest";
import { CniCode } from "../core/cni/error.ts";
import {
  type DataDir,
  add,
  createDataDir,
  key,
  never,
  ranges,
} from "../test/ipam/lease-directory.ts";
import { ip } from "../test/support/builders.ts";
import type { Ipam } from "./ipam.ts";

let data: DataDir;
let ipam: Ipam;
beforeEach(() => {
  data = createDataDir();
  ipam = data.open();
});
afterEach(() => data[Symbol.dispose]());

test("an address outside a full range is refused as such", async () => {
  const sets = ranges("10.1.2.0/30");
  await add(ipam, key("a"), { ranges: sets });
  await expect(
    add(ipam, key("b"), { ranges: sets, requested: ["10.9.9.9"] }),
  ).rejects.toMatchObject({
    code: CniCode.invalidConfig,
    message: expect.stringContaining('"10.9.9.9"'),
  });
});

test("a full range tells how many of it are reserved", async () => {
  const withheld = [{ first: ip("10.1.2.3"), last: ip("10.1.2.4"), reason: "reserved" as const }];
  const sets = ranges("10.1.2.0/29");
  const reserve = (id: string) =>
    ipam.reserve({ key: key(id), ranges: sets, withheld, requestedIps: [] }, never);
  for (const id of ["a", "b", "c"]) await reserve(id);
  await expect(reserve("d")).rejects.toThrow(
    "3 of 3 are held in 10.1.2.1-10.1.2.6 of 10.1.2.0/29, " +
      "0 rest in quarantine, 2 are reserved (network.ipam.reserved)",
  );
});
