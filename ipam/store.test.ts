import { execFileSync } from "node:child_process";
import { linkSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CniCode, CniError } from "../core/cni/error.ts";
import type { Log } from "../core/log.ts";
import { silentLog } from "../core/log.ts";
import { systemClock } from "../kernel/clock.ts";
import { tryLock } from "../kernel/flock.ts";
import {
  type DataDir,
  add,
  createDataDir,
  key,
  never,
  ranges,
} from "../test/ipam/lease-directory.ts";
import { ip } from "../test/support/builders.ts";
import { LeaseDirectory } from "./directory.ts";
import type { Ipam } from "./ipam.ts";
import { validityOf } from "./lease.ts";

let data: DataDir;
let ipam: Ipam;
beforeEach(() => {
  data = createDataDir();
  ipam = data.open();
});
afterEach(() => data[Symbol.dispose]());

const small = ranges("10.1.2.0/29");
const put = (name: string, content: string): void =>
  writeFileSync(join(data.path, "mynet", name), content);
const modeOf = (name: string): string =>
  (statSync(join(data.path, "mynet", name)).mode & 0o777).toString(8);
const error = async (work: Promise<unknown>): Promise<CniError> => {
  const thrown: unknown = await work.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (!(thrown instanceof CniError)) throw new Error("expected a CniError", { cause: thrown });
  return thrown;
};

describe("the files", () => {
  test("hl-disk-02, hl-disk-03: are host-local's, byte for byte", async () => {
    await add(ipam, key("dummy"), { ranges: ranges("10.1.2.0/24", "2001:db8:1::/64") });
    expect(data.files()).toEqual({
      "10.1.2.2": "dummy\r\neth0",
      "2001:db8:1::2": "dummy\r\neth0",
      "last_reserved_ip.0": "10.1.2.2",
      "last_reserved_ip.1": "2001:db8:1::2",
    });
    const modes = ["", "lock", "10.1.2.2", "last_reserved_ip.0"].map(modeOf);
    expect(modes).toEqual(["755", "750", "600", "600"]);
  });

  test("hl-disk-05: the oldest format, the container id alone, is released", async () => {
    await add(ipam, key("dummy"), { ranges: small });
    put("10.1.2.2", "dummy");
    expect(await data.open().release(key("dummy"), never)).toEqual(["10.1.2.2"]);
    expect(data.addresses()).toEqual([]);
  });

  test("an exact match is released before the oldest format is looked for", async () => {
    await add(ipam, key("dummy"), { ranges: small });
    put("10.1.2.5", "dummy");
    expect(await ipam.release(key("dummy"), never)).toEqual(["10.1.2.2"]);
    expect(await ipam.release(key("dummy"), never)).toEqual(["10.1.2.5"]);
  });

  test("hl-disk-06: release of an unknown container makes no directory", async () => {
    expect(await ipam.release(key("nobody"), never)).toEqual([]);
    expect(() => statSync(join(data.path, "mynet"))).toThrow("ENOENT");
  });

  test.each(["", "\0\0\0\0", " \n"])("hl-disk-11: %j is reclaimed, and logged", async (content) => {
    const lines: unknown[] = [];
    const log: Log = { ...silentLog, warn: (fields) => lines.push(fields) };
    await add(ipam, key("a"), { ranges: small });
    put("10.1.2.3", content);
    const other = data.open({ log });
    expect(await add(other, key("b"), { ranges: small })).toEqual(["10.1.2.3"]);
    expect(lines).toEqual([{ network: "mynet", addresses: ["10.1.2.3"] }]);
  });

  test("last_reserved_ip.0 is replaced whole, also by a shorter address", async () => {
    const requested = ["10.1.2.100", "10.1.2.9"];
    for (const [i, one] of requested.entries()) {
      await add(ipam, key(`c${i}`), { ranges: ranges("10.1.2.0/24"), requested: [one] });
      expect(data.files()["last_reserved_ip.0"]).toBe(one);
    }
  });

  test("hl-disk-12: garbage in last_reserved_ip.0 starts at the beginning", async () => {
    await add(ipam, key("a"), { ranges: small });
    put("last_reserved_ip.0", "garbage");
    expect(await add(data.open(), key("b"), { ranges: small })).toEqual(["10.1.2.3"]);
  });

  test("hl-disk-21: a directory, a link or an unreadable file in an address's place is held", async () => {
    await add(ipam, key("a"), { ranges: small });
    mkdirSync(join(data.path, "mynet/10.1.2.3"));
    put("10.1.2.4", "x".repeat(100_000));
    expect(await add(ipam, key("b"), { ranges: small })).toEqual(["10.1.2.5"]);
    expect(await ipam.leases("mynet")).toHaveLength(2);
    await ipam.collect("mynet", () => false, never);
    expect(() => data.files()).toThrow("EISDIR");
    expect(readFileSync(join(data.path, "mynet/10.1.2.4"), "utf8")).toHaveLength(100_000);
  });

  test("files whose names are no canonical addresses are left alone", async () => {
    await add(ipam, key("10.1.2.2"), { ranges: small });
    const others = ["010.1.2.5", "FD00::1", "10.1.2.6.bak", "notes.txt", "last_reserved_ip.x"];
    for (const name of others) put(name, "10.1.2.2\r\neth0");
    // hl: a container whose id reads like the address in last_reserved_ip.0.
    expect(await ipam.release(key("10.1.2.2"), never)).toEqual(["10.1.2.2"]);
    await ipam.collect("mynet", () => false, never);
    expect(Object.keys(data.files()).sort()).toEqual([...others, "last_reserved_ip.0"].sort());
  });

  test.each(["a/b", "..", ".", ""])("hl-conf-48: the network name %j is refused", async (name) => {
    const refused = await error(add(ipam, key("a", "eth0", name), { ranges: small }));
    expect(refused.code).toBe(CniCode.invalidConfig);
    expect(refused.message).toContain(`"${name}"`);
  });
});

test("a file left over from a death is not truncated, for it may be a lease's second name", async () => {
  await add(ipam, key("a"), { ranges: small });
  const directory = new LeaseDirectory(join(data.path, "mynet"), systemClock);
  linkSync(join(directory.path, "10.1.2.2"), join(directory.path, ".fairlead-lease"));
  const owner = { containerId: "b", ifName: "eth0" };
  const give = (): boolean =>
    directory.withOwnerFile(owner, ({ giveName }) => giveName(ip("10.1.2.3")));
  expect(give).toThrow("EEXIST");
  expect(give()).toBe(true);
  expect(data.files()).toMatchObject({ "10.1.2.2": "a\r\neth0", "10.1.2.3": "b\r\neth0" });
});

describe("reserve()", () => {
  test("hl-alloc-21: five addresses of a /29, then a full range with a message that says all", async () => {
    const given: string[] = [];
    for (const id of ["a", "b", "c", "d", "e"]) {
      given.push(...(await add(ipam, key(id), { ranges: small })));
    }
    expect(given).toEqual(["10.1.2.2", "10.1.2.3", "10.1.2.4", "10.1.2.5", "10.1.2.6"]);
    const full = await error(add(ipam, key("f"), { ranges: small }));
    expect(full.code).toBe(CniCode.addressesExhausted);
    expect(full.message).toBe(
      'Cannot give an address of network "mynet": 5 of 5 are held ' +
        "in 10.1.2.1-10.1.2.6 of 10.1.2.0/29, 0 rest in quarantine",
    );
  });

  test("hl-alloc-22: an address released is the last to be given again", async () => {
    await add(ipam, key("a"), { ranges: small });
    await ipam.release(key("a"), never);
    expect(await add(ipam, key("a"), { ranges: small })).toEqual(["10.1.2.3"]);
  });

  test("hl-alloc-33, hl-alloc-34: repeated, it gives the same, and others go on", async () => {
    expect(await add(ipam, key("a"), { ranges: small })).toEqual(["10.1.2.2"]);
    expect(await add(ipam, key("a"), { ranges: small })).toEqual(["10.1.2.2"]);
    expect(await add(data.open(), key("a"), { ranges: small })).toEqual(["10.1.2.2"]);
    expect(await add(ipam, key("b"), { ranges: small })).toEqual(["10.1.2.3"]);
  });

  test("repeated after a crash between two sets, it completes what is held", async () => {
    await add(ipam, key("a"), { ranges: small });
    const both = ranges("10.1.2.0/29", "fd00::/64");
    expect(await add(ipam, key("a"), { ranges: both })).toEqual(["10.1.2.2", "fd00::2"]);
    expect(await add(ipam, key("a"), { ranges: both })).toEqual(["10.1.2.2", "fd00::2"]);
  });

  test("gives the subnet's prefix and the gateway", async () => {
    const request = { key: key("a"), ranges: ranges("10.1.2.0/24"), requestedIps: [] };
    expect(await ipam.reserve(request, never)).toEqual([
      { address: { address: "10.1.2.2", prefixLength: 24 }, gateway: "10.1.2.1" },
    ]);
  });

  test("hl-alloc-24: a requested address that another holds is refused", async () => {
    const request = { ranges: small, requested: ["10.1.2.5"] };
    expect(await add(ipam, key("a"), request)).toEqual(["10.1.2.5"]);
    expect(await add(ipam, key("a"), request)).toEqual(["10.1.2.5"]);
    expect((await error(add(ipam, key("b"), request))).message).toBe(
      'Cannot give the requested address "10.1.2.5" of network "mynet": ' +
        "it is held by another attachment",
    );
  });

  test.each([
    ["hl-alloc-25, after the end", ["10.1.2.7"], "bounds: 10.1.2.1-10.1.2.6 of 10.1.2.0/29"],
    ["the gateway", ["10.1.2.1"], "it is the gateway"],
    ["hl-alloc-31, two of one set", ["10.1.2.3", "10.1.2.4"], '"10.1.2.4"'],
  ])("%s: refused, nothing held", async (_id, requested, message) => {
    const refused = await error(add(ipam, key("a"), { ranges: small, requested }));
    expect(refused.code).toBe(CniCode.invalidConfig);
    expect(refused.message).toContain(message);
    expect(data.addresses()).toEqual([]);
  });

  test("a second address requested for a set that the attachment holds one of is refused", async () => {
    await add(ipam, key("a"), { ranges: small });
    const again = error(add(ipam, key("a"), { ranges: small, requested: ["10.1.2.5"] }));
    expect((await again).message).toContain("the attachment holds another address");
  });

  test.each([
    ["hl-alloc-27", ranges("10.1.2.0/24"), ["10.1.2.88"]],
    ["hl-alloc-28", ranges("10.1.2.0/24", "10.1.3.0/24"), ["10.1.2.88", "10.1.3.77"]],
    [
      "hl-alloc-30",
      ranges("172.16.1.0/24 10.1.2.0/24", "2001:db8:1::/48"),
      ["10.1.2.88", "2001:db8:1::999"],
    ],
    ["twice the same address", ranges("10.1.2.0/24"), ["10.1.2.88"]],
  ])("%s: requested addresses are given in set order", async (_id, sets, expected) => {
    const requested = [...expected].reverse();
    expect(await add(ipam, key("a"), { ranges: sets, requested })).toEqual(expected);
  });

  test("hl-alloc-40, hl-disk-20: with the second set full, nothing new is held", async () => {
    const sets = ranges("10.1.2.0/24", "10.1.3.0/30");
    await add(ipam, key("a"), { ranges: sets });
    const full = await error(add(ipam, key("b"), { ranges: sets }));
    expect(full.message).toContain("1 of 1 are held in 10.1.3.1-10.1.3.2 of 10.1.3.0/30");
    expect(data.addresses()).toEqual(["10.1.2.2", "10.1.3.2"]);
    expect(data.files()["last_reserved_ip.0"]).toBe("10.1.2.2");
  });

  test("a full disk leaves what was there, and says where", async () => {
    const fs = await import("node:fs");
    const noSpace = Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
    const full = data.open({
      writes: {
        ...fs,
        openSync: (path, ...rest) => {
          if (path.includes("last_reserved_ip.1")) throw noSpace;
          return fs.openSync(path, ...rest);
        },
      },
    });
    const sets = ranges("10.1.2.0/24", "fd00::/64");
    const failed = await error(add(full, key("a"), { ranges: sets }));
    expect(failed.code).toBe(CniCode.ioFailure);
    expect(failed.message).toBe(`Cannot keep the leases in "${data.path}/mynet"`);
    expect(failed.details).toContain("ENOSPC");
    expect(data.addresses()).toEqual([]);
  });
});

describe("release()", () => {
  test("hl-alloc-36: only of that interface", async () => {
    await add(ipam, key("a", "eth0"), { ranges: small });
    await add(ipam, key("a", "eth1"), { ranges: small });
    await ipam.release(key("a", "eth0"), never);
    expect(data.addresses()).toEqual(["10.1.2.3"]);
  });

  test("hl-alloc-37: only of that network", async () => {
    await add(ipam, key("a"), { ranges: small });
    await add(ipam, key("a", "eth0", "other"), { ranges: small });
    await ipam.release(key("a"), never);
    expect([data.addresses(), data.addresses("other")]).toEqual([[], ["10.1.2.2"]]);
  });

  test("hl-disk-27: frees what a killed request left", async () => {
    await add(data.open(), key("a"), { ranges: small });
    await ipam.release(key("a"), never);
    expect(data.addresses()).toEqual([]);
  });
});

describe("collect()", () => {
  beforeEach(async () => {
    for (const one of [key("dummy"), key("dummy", "eth1"), key("other")]) {
      await add(ipam, one, { ranges: small });
    }
    await add(ipam, key("dummy", "eth9", "b"), { ranges: small });
  });
  const valid = validityOf([{ containerId: "dummy", ifName: "eth0" }]);

  test("hl-disk-14, hl-disk-18: keeps the valid, of this network", async () => {
    const freed = await ipam.collect("mynet", valid, never);
    expect(freed).toEqual([
      { address: "10.1.2.3", containerId: "dummy", ifName: "eth1" },
      { address: "10.1.2.4", containerId: "other", ifName: "eth0" },
    ]);
    expect(data.addresses()).toEqual(["10.1.2.2"]);
    expect(data.addresses("b")).toEqual(["10.1.2.2"]);
  });

  test("hl-disk-15: with nothing valid only the lock and last_reserved_ip.0 stay", async () => {
    await ipam.collect("mynet", validityOf([]), never);
    expect(data.files()).toEqual({ "last_reserved_ip.0": "10.1.2.4" });
  });

  test("hl-disk-17: a bare container id is valid under any interface", async () => {
    put("10.1.2.5", "dummy");
    put("10.1.2.6", "gone");
    await ipam.collect("mynet", valid, never);
    expect(data.addresses()).toEqual(["10.1.2.2", "10.1.2.5"]);
  });
});

describe("memory", () => {
  test("is dropped when another process changes the directory", async () => {
    const other = data.open();
    for (let i = 0; i < 200; i++) {
      const [mine] = await add(ipam, key(`mine${i}`), { ranges: ranges("10.1.0.0/20") });
      const [theirs] = await add(other, key(`theirs${i}`), { ranges: ranges("10.1.0.0/20") });
      expect(theirs).not.toBe(mine);
      expect(await ipam.release(key(`theirs${i}`), never)).toEqual([theirs]);
      expect(await other.release(key(`mine${i}`), never)).toEqual([mine]);
    }
    expect(data.addresses()).toEqual([]);
  });

  test("finds out about a file that came without the lock", async () => {
    await add(ipam, key("a"), { ranges: small });
    put("10.1.2.3", "someone\r\neth0");
    expect(await add(ipam, key("b"), { ranges: small })).toEqual(["10.1.2.4"]);
  });

  test("is read again before a range is called full", async () => {
    for (const id of ["a", "b", "c", "d", "e"]) await add(ipam, key(id), { ranges: small });
    rmSync(join(data.path, "mynet/10.1.2.4"));
    expect(await add(ipam, key("f"), { ranges: small })).toEqual(["10.1.2.4"]);
  });

  test("that is wrong without a sign of it costs nothing", async () => {
    const directory = join(data.path, "mynet");
    const unnoticed = (change: () => void): void => {
      const { mtimeNs } = statSync(directory, { bigint: true });
      change();
      const seconds = `${mtimeNs / 1_000_000_000n}.${String(mtimeNs % 1_000_000_000n).padStart(9, "0")}`;
      execFileSync("touch", ["-d", `@${seconds}`, directory]);
      expect(statSync(directory, { bigint: true }).mtimeNs).toBe(mtimeNs);
    };
    for (const id of ["a", "b", "c"]) await add(ipam, key(id), { ranges: small });
    unnoticed(() => put("10.1.2.5", "someone\r\neth0"));
    expect(await add(ipam, key("d"), { ranges: small })).toEqual(["10.1.2.6"]);
    unnoticed(() => rmSync(join(directory, "10.1.2.3")));
    expect(await add(ipam, key("e"), { ranges: small })).toEqual(["10.1.2.3"]);
  });

  test("outlives the directory", async () => {
    await add(ipam, key("a"), { ranges: small });
    rmSync(join(data.path, "mynet"), { recursive: true });
    expect(await ipam.leases("mynet")).toEqual([]);
    expect(await add(ipam, key("b"), { ranges: small })).toEqual(["10.1.2.2"]);
  });
});

describe("the lock", () => {
  test("held by another is waited for, up to the deadline, and named", async () => {
    await add(ipam, key("a"), { ranges: small });
    const path = join(data.path, "mynet/lock");
    const held = tryLock(path, "exclusive");
    const late = await error(add(data.open({ lockDeadlineMs: 30 }), key("b"), { ranges: small }));
    expect(late.code).toBe(CniCode.tryAgainLater);
    expect(late.message).toBe(`Cannot lock "${path}" within 30 ms: another process holds it`);
    const waiting = add(ipam, key("b"), { ranges: small });
    held?.[Symbol.dispose]();
    expect(await waiting).toEqual(["10.1.2.3"]);
  });

  test("is given up when the request is aborted", async () => {
    await add(ipam, key("a"), { ranges: small });
    using _held = tryLock(join(data.path, "mynet/lock"), "exclusive");
    await expect(ipam.release(key("a"), AbortSignal.timeout(20))).rejects.toThrow("aborted");
  });
});

test("usage() counts without the gateway", async () => {
  const both = ranges("10.1.2.0/29", "fd00::/64");
  await add(ipam, key("a"), { ranges: both });
  put("10.1.2.1", "odd\r\neth0");
  expect(await ipam.usage("mynet", { ranges: both }, never)).toEqual([
    { ranges: "10.1.2.1-10.1.2.6 of 10.1.2.0/29", size: 5n, held: 1, heldBesides: 1, resting: 0 },
    {
      ranges: "fd00::1-fd00::ffff:ffff:ffff:ffff of fd00::/64",
      size: (1n << 64n) - 2n,
      held: 1,
      heldBesides: 0,
      resting: 0,
    },
  ]);
});

test("at() keeps leases below another directory", async () => {
  using other = createDataDir();
  await add(ipam.at(other.path), key("a"), { ranges: small });
  expect(other.addresses()).toEqual(["10.1.2.2"]);
  expect(await ipam.leases("mynet")).toEqual([]);
  expect(ipam.at(undefined)).toBe(ipam);
  expect(ipam.at(other.path)).toBe(ipam.at(other.path));
});
