import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { AdoptedLease } from "../core/adopted-lease.ts";
import { systemBootClock } from "../kernel/boot-clock.ts";
import { type DataDir, createDataDir, key, never } from "../test/ipam/lease-directory.ts";
import { cidr, ip } from "../test/support/builders.ts";
import { readAdopted, writeAdopted } from "./adopted.ts";

let data: DataDir;
let origin: string;
let adoptedPath: string;
beforeEach(() => {
  data = createDataDir();
  origin = join(data.path, "cbr0");
  mkdirSync(origin);
  // Where the store has it for leases elsewhere.
  adoptedPath = join(data.path, ".fairlead/adopted.json");
});
afterEach(() => data[Symbol.dispose]());

const lease = (address: string, container: string, more: Partial<AdoptedLease> = {}) => ({
  address: ip(address),
  containerId: container,
  ifName: "eth0",
  network: "mynet",
  origin,
  bootId: systemBootClock.bootId,
  ...more,
});
const reserve = (container: string) =>
  data
    .open()
    .reserve(
      { key: key(container), ranges: [[{ subnet: cidr("10.1.2.0/24") }]], requestedIps: [] },
      never,
    );
const hold = (address: string, content: string): void =>
  writeFileSync(join(origin, address), content);
const collectAll = async () =>
  (await data.open().collect("mynet", () => false, never)).map(({ address }) => address);
const freeAdopted = async () =>
  (await data.open().freeAdopted("mynet", never)).map(({ address }) => address);

describe("an adopted lease", () => {
  test("is kept from GC while its first network has it, and freed when it has not", async () => {
    await reserve("a");
    await reserve("b");
    hold("10.1.2.2", "a\r\neth0");
    writeAdopted(adoptedPath, [lease("10.1.2.2", "a")]);
    expect(await freeAdopted()).toEqual([]);
    expect(await collectAll()).toEqual(["10.1.2.3"]);
    rmSync(join(origin, "10.1.2.2"));
    expect(await freeAdopted()).toEqual(["10.1.2.2"]);
    expect(readAdopted(adoptedPath)).toEqual([]);
    expect(data.addresses()).toEqual([]);
  });

  test.each([
    ["its file there is another's", "z\r\neth0", {}],
    ["it was adopted in an earlier boot", "a\r\neth0", { bootId: "earlier" }],
    ["its network is gone", "a\r\neth0", { origin: "/nowhere/cbr0" }],
  ])("ends when %s", async (_, content, more) => {
    await reserve("a");
    hold("10.1.2.2", content);
    writeAdopted(adoptedPath, [lease("10.1.2.2", "a", more)]);
    expect(await freeAdopted()).toEqual(["10.1.2.2"]);
  });

  test("that ended before it was held frees nobody else's", async () => {
    await reserve("new");
    writeAdopted(adoptedPath, [lease("10.1.2.2", "a"), lease("10.1.2.9", "x", { network: "o" })]);
    expect(await freeAdopted()).toEqual([]);
    expect(data.addresses()).toEqual(["10.1.2.2"]);
    expect(readAdopted(adoptedPath)).toMatchObject([{ address: "10.1.2.9" }]);
  });

  test("is not given up when the list of them cannot be read", async () => {
    await reserve("a");
    mkdirSync(join(data.path, ".fairlead"), { recursive: true });
    writeFileSync(adoptedPath, '{"version": 1');
    await expect(collectAll()).rejects.toMatchObject({
      details: expect.stringContaining(`${adoptedPath}: Cannot read which leases were adopted`),
    });
    expect(data.addresses()).toEqual(["10.1.2.2"]);
  });
});
