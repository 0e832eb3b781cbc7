// What lies beside the lease files: details and quarantine, over crashes, reboots and other programs.
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CniCode } from "../core/cni/error.ts";
import { type Log, silentLog } from "../core/log.ts";
import { type DataDir, createDataDir, key, never, ranges } from "../test/ipam/lease-directory.ts";
import { TestMachineClocks } from "../test/ipam/machine.ts";
import { ip } from "../test/support/builders.ts";
import type { Ipam, ReserveRequest } from "./ipam.ts";
import type { IpamOptions } from "./store.ts";

let data: DataDir;
let warnings: string[];
beforeEach(() => {
  data = createDataDir();
  warnings = [];
});
afterEach(() => data[Symbol.dispose]());

const log: Log = { ...silentLog, warn: (_fields, message) => warnings.push(message) };
const small = ranges("10.1.2.0/29");
const sandbox = { device: 4, inode: 4_026_532_000, path: "/var/run/netns/a" };
const pod = { namespace: "default", name: "web-0" };
const pathOf = (address: string): string => join(data.path, "mynet", address);
const journalPath = (): string => join(data.path, ".fairlead/leases/mynet");

class Machine extends TestMachineClocks {
  open(options: Partial<IpamOptions> = {}): Ipam {
    return data.open({ clock: this, boot: this, log, ...options });
  }
}
let machine: Machine;
beforeEach(() => void (machine = new Machine()));

const reserve = (ipam: Ipam, id: string, more: Partial<ReserveRequest> = {}): Promise<string[]> =>
  ipam
    .reserve({ key: key(id), ranges: small, requestedIps: [], ...more }, never)
    .then((given) => given.map(({ address }) => address.address));
const detailed = async (ipam: Ipam) => (await ipam.inventory("mynet", never)).leases;

describe("details", () => {
  test("are told by another process, for both addresses of one file", async () => {
    const dual = ranges("10.1.2.0/29", "fd00::/64");
    await reserve(machine.open(), "a", { ranges: dual, sandbox, pod });
    const leases = await detailed(machine.open());
    expect(leases.map(({ address }) => address)).toEqual(["10.1.2.2", "fd00::2"]);
    for (const { details } of leases) {
      expect(details).toMatchObject({
        owner: { containerId: "a", ifName: "eth0" },
        given: { bootId: "boot-1", elapsedMs: 1_000_000, wallMs: 1_700_000_000_000 },
        sandbox,
        pod,
      });
    }
    expect(warnings).toEqual([]);
  });

  test("end with the lease", async () => {
    const ipam = machine.open();
    await reserve(ipam, "a", { sandbox });
    await ipam.release(key("a"), never);
    expect(await detailed(machine.open())).toEqual([]);
    expect(readFileSync(journalPath(), "utf8")).toMatch(/\tfreed\t10\.1\.2\.2\tDEL\tboot-1\t/);
  });

  test("are not those of a file that another program made since", async () => {
    await reserve(machine.open(), "a", { sandbox });
    // As host-local does: the same owner, the same address, another file.
    unlinkSync(pathOf("10.1.2.2"));
    writeFileSync(pathOf("10.1.2.2"), "a\r\neth0", { mode: 0o600 });
    utimesSync(pathOf("10.1.2.2"), 1, 1);
    for (const ipam of [machine.open(), machine.open()]) {
      expect(await detailed(ipam)).toEqual([
        { address: "10.1.2.2", containerId: "a", ifName: "eth0" },
      ]);
    }
  });

  test("are those of the last request, when an attachment asks again", async () => {
    await reserve(machine.open(), "a", { sandbox });
    machine.reboot("boot-2");
    const ipam = machine.open();
    const again = { ...sandbox, inode: 4_026_532_999 };
    expect(await reserve(ipam, "a", { sandbox: again })).toEqual(["10.1.2.2"]);
    for (const one of [ipam, machine.open()]) {
      const [lease] = await detailed(one);
      expect(lease?.details).toMatchObject({ given: { bootId: "boot-2" }, sandbox: again });
    }
  });

  test("that a dead process wrote of a lease that it never made are nobody's", async () => {
    await reserve(machine.open(), "a", { sandbox });
    const text = readFileSync(journalPath(), "utf8");
    const ipam = machine.open();
    await ipam.release(key("a"), never);
    appendFileSync(journalPath(), text.slice(text.indexOf("\n") + 1));
    expect(await detailed(machine.open())).toEqual([]);
    expect(await reserve(machine.open(), "b")).toEqual(["10.1.2.3"]);
  });

  test("of garbage cost one warning and no address", async () => {
    await reserve(machine.open(), "a");
    writeFileSync(journalPath(), "\0".repeat(500));
    const ipam = machine.open();
    expect(await reserve(ipam, "b")).toEqual(["10.1.2.3"]);
    expect(await ipam.release(key("a"), never)).toEqual(["10.1.2.2"]);
    expect(warnings).toEqual(["the journal of leases has lines that say nothing"]);
  });

  test("that cannot be written leave a lease without, which DEL frees", async () => {
    mkdirSync(journalPath(), { recursive: true });
    const ipam = machine.open();
    expect(await reserve(ipam, "a")).toEqual(["10.1.2.2"]);
    expect(await detailed(ipam)).toEqual([
      { address: "10.1.2.2", containerId: "a", ifName: "eth0" },
    ]);
    expect(await ipam.release(key("a"), never)).toEqual(["10.1.2.2"]);
    expect(warnings).toContain("cannot write to the journal of leases");
  });

  test.each(["abc\0\0\0\0\0\0\0\0\0", "abcdef\r", "abcdef\r\n", "\0"])(
    "or none: %j is what a power cut leaves of a file, and the oldest format is not",
    async (content) => {
      await reserve(machine.open(), "abcdef");
      await reserve(machine.open(), "b");
      machine.reboot("boot-2");
      writeFileSync(pathOf("10.1.2.2"), content);
      writeFileSync(pathOf("10.1.2.3"), "b");
      expect(await machine.open().leases("mynet")).toEqual([
        { address: "10.1.2.3", containerId: "b", ifName: "" },
      ]);
      expect(warnings).toEqual(["reclaimed addresses whose files were empty or torn"]);
    },
  );

  test("of an earlier boot do not stand for what a file says", async () => {
    await reserve(machine.open(), "a");
    const { atimeMs, mtimeMs } = statSync(pathOf("10.1.2.2"));
    machine.reboot("boot-2");
    // A power cut that keeps the file's times and not its content.
    writeFileSync(pathOf("10.1.2.2"), "\0".repeat(7));
    utimesSync(pathOf("10.1.2.2"), atimeMs / 1000, mtimeMs / 1000);
    expect(await machine.open().leases("mynet")).toEqual([]);
  });

  test("are kept when the journal is written anew, and it stays small", async () => {
    const ipam = machine.open();
    await reserve(ipam, "stays", { sandbox, pod });
    for (let i = 0; i < 1200; i++) {
      await reserve(ipam, `c${i}`, { sandbox, pod });
      machine.pass(1000);
      await ipam.release(key(`c${i}`), never);
    }
    expect(statSync(journalPath()).size).toBeLessThan(150 << 10);
    for (const one of [ipam, machine.open()]) {
      expect((await detailed(one))[0]?.details).toMatchObject({ sandbox, pod });
    }
    expect(existsSync(join(data.path, ".fairlead/leases/.fairlead-journal"))).toBe(false);
  });
});

describe("a lease that is forgotten", () => {
  test("is freed as long as it is the same", async () => {
    const ipam = machine.open();
    for (const id of ["a", "b", "c"]) await reserve(ipam, id, { sandbox });
    const seen = await detailed(ipam);
    machine.pass(1);
    await reserve(ipam, "a", { sandbox: { ...sandbox, inode: 1 } });
    await ipam.release(key("b"), never);
    await reserve(ipam, "b", { sandbox, requestedIps: [ip("10.1.2.3")] });
    expect(await ipam.free("mynet", seen, "for a test", never)).toEqual([seen[2]]);
    expect(data.addresses()).toEqual(["10.1.2.2", "10.1.2.3"]);
    expect(await ipam.networks()).toEqual(["mynet"]);
  });

  test("of an earlier boot is not waited for when the range is full", async () => {
    const first = machine.open();
    for (const id of ["a", "b", "c"]) await reserve(first, id, { sandbox });
    machine.reboot("boot-2");
    const ipam = machine.open();
    // One asks again in this boot: it keeps its address.
    expect(await reserve(ipam, "b", { sandbox })).toEqual(["10.1.2.3"]);
    writeFileSync(pathOf("10.1.2.5"), "other program\r\neth0");
    expect(await reserve(ipam, "d", { sandbox })).toEqual(["10.1.2.6"]);
    expect(await reserve(ipam, "e", { sandbox })).toEqual(["10.1.2.2"]);
    expect(await reserve(ipam, "f", { sandbox })).toEqual(["10.1.2.4"]);
    await expect(reserve(ipam, "g")).rejects.toMatchObject({
      code: CniCode.addressesExhausted,
    });
  });
});

describe("a directory that another program changes", () => {
  // host-local: a file is removed and made, never written again.
  const replace = (address: string, content: string): void => {
    unlinkSync(pathOf(address));
    writeFileSync(pathOf(address), content, { mode: 0o600 });
  };

  test("gives nobody an address that was freed and given again meanwhile", async () => {
    const ipam = machine.open();
    for (const id of ["a", "b"]) await reserve(ipam, id);
    replace("10.1.2.2", "other\r\neth0");
    expect(await reserve(ipam, "c")).toEqual(["10.1.2.4"]);
    expect(await reserve(ipam, "a")).toEqual(["10.1.2.5"]);
    expect(await ipam.release(key("other"), never)).toEqual(["10.1.2.2"]);
    expect((await ipam.leases("mynet")).map(({ containerId }) => containerId)).toEqual([
      "b",
      "c",
      "a",
    ]);
  });

  test("frees what that program gave", async () => {
    const ipam = machine.open();
    await reserve(ipam, "a");
    writeFileSync(pathOf("10.1.2.3"), "other\r\neth0");
    expect(await reserve(ipam, "b")).toEqual(["10.1.2.4"]);
    unlinkSync(pathOf("10.1.2.3"));
    for (const id of ["c", "d", "e"]) await reserve(ipam, id);
    expect(data.addresses()).toHaveLength(5);
  });

  test("is followed by DEL and GC, whatever an ADD has looked at before", async () => {
    const ipam = machine.open();
    for (const id of ["a", "b"]) await reserve(ipam, id);
    replace("10.1.2.2", "other\r\neth0");
    await reserve(ipam, "c");
    expect(await ipam.release(key("a"), never)).toEqual([]);
    expect(
      await ipam.collect("mynet", ({ containerId }) => containerId !== "other", never),
    ).toEqual([{ address: "10.1.2.2", containerId: "other", ifName: "eth0" }]);
  });
});

describe("a process for one request, which takes the journal's word for files that it does not open,", () => {
  test("reclaims one that is empty before it says that the range is full", async () => {
    for (const id of ["a", "b", "c", "d", "e"]) await reserve(machine.open(), id);
    writeFileSync(pathOf("new"), "");
    renameSync(pathOf("new"), pathOf("10.1.2.4"));
    expect(await reserve(machine.open(), "f")).toEqual(["10.1.2.4"]);
    await expect(reserve(machine.open(), "g")).rejects.toThrow("5 of 5 are held");
  });

  test("gives nobody an address that another program has given since", async () => {
    await reserve(machine.open(), "a");
    unlinkSync(pathOf("10.1.2.2"));
    writeFileSync(pathOf("10.1.2.2"), "other\r\neth0", { mode: 0o600 });
    expect(await reserve(machine.open(), "a")).toEqual(["10.1.2.3"]);
    expect(await machine.open().release(key("a"), never)).toEqual(["10.1.2.3"]);
    expect(await machine.open().release(key("other"), never)).toEqual(["10.1.2.2"]);
  });

  test("looks at a file that the journal says was freed", async () => {
    await reserve(machine.open(), "a");
    await machine.open().release(key("a"), never);
    writeFileSync(pathOf("10.1.2.2"), "other\r\neth0", { mode: 0o600 });
    expect(await reserve(machine.open(), "other")).toEqual(["10.1.2.2"]);
  });
});

describe("a file that somebody empties in place", () => {
  const dual = ranges("10.1.2.0/29", "fd00::/125");

  test.each([
    ["", "a process that knows the lease", true],
    ["\0\0\0", "one that has the journal", false],
  ])("as %j is whole again for %s, and gives no address away", async (content, _, isKnown) => {
    const first = machine.open();
    await reserve(first, "a", { ranges: dual, sandbox, pod });
    for (const id of ["b", "c", "d", "e"]) await reserve(first, id);
    writeFileSync(pathOf("10.1.2.2"), content);
    // Another program's change, without which nobody looks.
    writeFileSync(pathOf("10.1.2.7x"), "");
    const ipam = isKnown ? first : machine.open();
    await expect(reserve(ipam, "f")).rejects.toThrow("5 of 5 are held");
    expect(readFileSync(pathOf("fd00::2"), "utf8")).toBe("a\r\neth0");
    expect(warnings).toEqual(["wrote leases again whose files somebody had emptied"]);
    for (const one of [ipam, machine.open()]) {
      const leases = await detailed(one);
      expect(leases[0]).toMatchObject({ containerId: "a", details: { sandbox, pod } });
    }
    expect(await machine.open().release(key("a"), never)).toEqual(["10.1.2.2", "fd00::2"]);
  });

  test("is reclaimed after a reboot", async () => {
    await reserve(machine.open(), "a");
    machine.reboot("boot-2");
    writeFileSync(pathOf("10.1.2.2"), "");
    expect(await detailed(machine.open())).toEqual([]);
  });
});

test("a container id of any length that the kernel lets through is found again", async () => {
  const id = "h".repeat(130_000);
  expect(await reserve(machine.open(), id)).toEqual(["10.1.2.2"]);
  machine.reboot("boot-2");
  expect(await machine.open().release(key(id), never)).toEqual(["10.1.2.2"]);
});
