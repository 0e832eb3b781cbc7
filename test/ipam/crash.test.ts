// A process that dies at any of its writes, and a machine that loses power: what is left must be whole,
// absent or reclaimable, and never cost anybody an address.
import * as fs from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { AttachmentKey } from "../../core/names.ts";
import type { DiskWrites } from "../../ipam/disk-writes.ts";
import type { Ipam } from "../../ipam/ipam.ts";
import { validityOf } from "../../ipam/lease.ts";
import type { IpamOptions } from "../../ipam/store.ts";
import { type DataDir, add, createDataDir, key, never, ranges } from "./lease-directory.ts";
import { seededRandom } from "../support/random.ts";
import { lengthenJournal } from "./long-journal.ts";
import { TestMachineClocks } from "./machine.ts";

/** How the write at which the process dies ends: not begun, file made but empty, half written, done. */
const endings = ["before", "empty", "half", "after"] as const;
type Ending = (typeof endings)[number];

class Death extends Error {}

/** Writes whose content never came to the disk, though later ones did: the power was cut. */
interface Lost {
  readonly has: (at: number) => boolean;
  readonly content: (text: string) => string;
}

/** Disk writes that end with number `at`; none follows, as for a dead process. */
function dyingWrites(
  at: number,
  ending: Ending,
  lost?: Lost,
): DiskWrites & { readonly count: () => number } {
  let count = 0;
  const kept = (text: string): string => (lost?.has(count) === true ? lost.content(text) : text);
  const perform = (write: () => void, partly: () => void): void => {
    const isLast = count === at;
    if (count > at) throw new Death();
    count++;
    if (!isLast || ending === "after") write();
    else if (ending !== "before") partly();
    if (isLast) throw new Death();
  };
  const nothing = (): void => {};
  return {
    count: () => count,
    mkdirSync: (...args) => perform(() => fs.mkdirSync(...args), nothing),
    writeFileSync: (path, given, options) => {
      const content = kept(given);
      const part = ending === "half" ? content.slice(0, content.length / 2) : "";
      perform(
        () => fs.writeFileSync(path, content, options),
        () => fs.writeFileSync(path, part, options),
      );
    },
    openSync: (...args) => {
      let fd = -1;
      const open = (): void => void (fd = fs.openSync(...args));
      perform(open, nothing);
      return fd;
    },
    writeSync: (fd, given, position) => {
      const content = kept(given);
      const part = ending === "half" ? content.slice(0, content.length / 2) : "";
      let written = 0;
      perform(
        () => (written = fs.writeSync(fd, content, position)),
        () => (written = fs.writeSync(fd, part, position)),
      );
      return lost === undefined ? written : Buffer.byteLength(given);
    },
    ftruncateSync: (...args) => perform(() => fs.ftruncateSync(...args), nothing),
    linkSync: (...args) => perform(() => fs.linkSync(...args), nothing),
    renameSync: (...args) => perform(() => fs.renameSync(...args), nothing),
    unlinkSync: (...args) => perform(() => fs.unlinkSync(...args), nothing),
    utimesSync: (...args) => perform(() => fs.utimesSync(...args), nothing),
  };
}

const seed = Number(process.env["FAIRLEAD_SEED"] ?? Date.now() % 2 ** 31);
const rounds = 30;
/** More than any of the scenarios has: then all are done. */
const mostWrites = 20;

const sets = ranges("10.1.2.0/29", "fd00::/125");
const others = [key("other"), key("other", "eth1")];
const ours = key("ours");

interface Scenario {
  readonly name: string;
  readonly before: (data: DataDir, ipam: Ipam) => Promise<unknown>;
  readonly work: (ipam: Ipam) => Promise<unknown>;
  readonly keeps: readonly AttachmentKey[];
}

const reserveOthers = async (_data: DataDir, ipam: Ipam): Promise<void> => {
  for (const one of others) await add(ipam, one, { ranges: sets });
};
const reserveSticky = (ipam: Ipam) => {
  const pod = { namespace: "demo", name: "web-0" };
  return ipam.reserve({ key: ours, ranges: sets, requestedIps: [], pod, isSticky: true }, never);
};
const scenarios: readonly Scenario[] = [
  {
    name: "the first reservation",
    before: async () => {},
    work: (ipam) => add(ipam, ours, { ranges: sets }),
    keeps: [],
  },
  {
    name: "a reservation",
    before: reserveOthers,
    work: (ipam) => add(ipam, ours, { ranges: sets }),
    keeps: others,
  },
  {
    name: "a reservation after another's death",
    before: async (data, ipam) => {
      await reserveOthers(data, ipam);
      const left = join(data.path, "mynet/.fairlead-lease");
      fs.linkSync(join(data.path, "mynet/10.1.2.2"), left);
      fs.writeFileSync(join(data.path, "mynet/10.1.2.4"), "");
    },
    work: (ipam) => add(ipam, ours, { ranges: sets }),
    keeps: others,
  },
  {
    name: "a release",
    before: async (data, ipam) => {
      await reserveOthers(data, ipam);
      await add(ipam, ours, { ranges: sets });
    },
    work: (ipam) => ipam.release(ours, never),
    keeps: others,
  },
  {
    name: "a collection",
    before: async (data, ipam) => {
      await reserveOthers(data, ipam);
      await add(ipam, ours, { ranges: sets });
    },
    work: (ipam) => ipam.collect("mynet", ({ ifName }) => ifName === "eth1", never),
    keeps: others.slice(1),
  },
  {
    name: "a reservation of earlier addresses",
    before: async (data, ipam) => {
      await reserveOthers(data, ipam);
      await reserveSticky(ipam);
      await ipam.release(ours, never);
    },
    work: reserveSticky,
    keeps: others,
  },
  {
    name: "a release that writes the journal anew",
    before: async (data, ipam) => {
      await reserveOthers(data, ipam);
      await add(ipam, ours, { ranges: sets });
      lengthenJournal(data);
    },
    work: (ipam) => ipam.release(ours, never),
    keeps: others,
  },
];

describe.each(scenarios)("dying in $name", (scenario) => {
  test.each(endings)("leaves whole leases only, when the last write ends %s", async (ending) => {
    let deaths = 0;
    for (let at = 0; ; at++) {
      using data = createDataDir();
      await scenario.before(data, data.open());
      const held = await heldBy(data.open(), scenario.keeps);
      const writes = dyingWrites(at, ending);
      const died = await scenario.work(data.open({ writes })).then(
        () => false,
        () => true,
      );
      if (!died) break;
      deaths++;
      expect(writes.count()).toBe(at + 1);
      await expectRepair(data, scenario, held);
    }
    expect(deaths).toBeGreaterThanOrEqual(3);
  });
});

/** The next process sees the same leases, gets a whole answer, and can give every address away. */
async function expectRepair(
  data: DataDir,
  { keeps }: Scenario,
  held: readonly string[],
  options: Partial<IpamOptions> = {},
): Promise<void> {
  const ipam = data.open(options);
  expect(await heldBy(ipam, keeps)).toEqual(held);
  // Garbage is nobody's lease, and no part of a file reads as one in the oldest format.
  for (const { containerId, ifName } of await ipam.leases("mynet")) {
    expect(["ours eth0", "other eth0", "other eth1"]).toContain(`${containerId} ${ifName}`);
  }
  expectNothingTemporary(data);
  const addresses = await add(ipam, ours, { ranges: sets });
  expect(addresses).toHaveLength(2);
  expect(await heldBy(ipam, [ours])).toEqual(addresses);
  await ipam.release(ours, never);
  const fill: string[] = (await ipam.leases("mynet")).map(({ address }) => address);
  while (fill.filter((address) => !address.includes(":")).length < 5) {
    fill.push(...(await add(ipam, key(`fill${fill.length}`), { ranges: sets.slice(0, 1) })));
  }
  const ipv4 = fill.filter((address) => !address.includes(":")).sort();
  expect(ipv4).toEqual(["10.1.2.2", "10.1.2.3", "10.1.2.4", "10.1.2.5", "10.1.2.6"]);
  expectNothingTemporary(data);
}

function expectNothingTemporary(data: DataDir): void {
  if (!fs.existsSync(join(data.path, "mynet"))) return;
  expect(Object.keys(data.files()).filter((name) => name.startsWith("."))).toEqual([]);
}

async function heldBy(ipam: Ipam, keys: readonly AttachmentKey[]): Promise<string[]> {
  const leases = await ipam.leases("mynet");
  return leases.filter(validityOf(keys)).map(({ address }) => address);
}

describe(`a power cut (seed ${seed})`, () => {
  const losses: readonly (readonly [string, Lost["content"]])[] = [
    ["nothing", () => ""],
    ["zeros", (text) => "\0".repeat(text.length)],
    ["half", (text) => text.slice(0, text.length / 2)],
  ];

  // Each prefix of the writes, with any one of them lost that others outlived.
  describe.each(scenarios)("in $name", (scenario) => {
    test.each(losses)(
      "that leaves %s of a write costs no address",
      async (_name, content) => {
        let cuts = 0;
        for (let end = 1, isDone = false; !isDone; end++) {
          for (let at = 0; at < end; at++) {
            using data = createDataDir();
            const machine = new TestMachineClocks();
            const clocks = { clock: machine, boot: machine };
            await scenario.before(data, data.open(clocks));
            const held = await heldBy(data.open(clocks), scenario.keeps);
            const writes = dyingWrites(end, "before", { has: (one) => one === at, content });
            const died = await scenario.work(data.open({ ...clocks, writes })).then(
              () => false,
              () => true,
            );
            isDone ||= !died;
            cuts++;
            machine.reboot("boot-2");
            await expectRepair(data, scenario, held, clocks);
          }
        }
        expect(cuts).toBeGreaterThanOrEqual(6);
      },
      60_000,
    );
  });

  // And with any set of them lost: some of all sets.
  test.each(scenarios)(
    "in $name that loses any writes costs no address",
    async (scenario) => {
      const random = seededRandom(seed);
      for (let round = 0; round < rounds; round++) {
        using data = createDataDir();
        const machine = new TestMachineClocks();
        const clocks = { clock: machine, boot: machine };
        await scenario.before(data, data.open(clocks));
        const held = await heldBy(data.open(clocks), scenario.keeps);
        const mask = random.below(2 ** 31);
        const [, content] = losses[random.below(losses.length)]!;
        const has = (at: number): boolean => (mask & (1 << (at % 31))) !== 0;
        const writes = dyingWrites(1 + random.below(mostWrites), "before", { has, content });
        await scenario.work(data.open({ ...clocks, writes })).catch(() => {});
        machine.reboot("boot-2");
        await expectRepair(data, scenario, held, clocks);
      }
    },
    60_000,
  );

  const lost = ["", "\0".repeat(11)];
  const files = ["10.1.2.2", "fd00::2", "last_reserved_ip.0", "last_reserved_ip.1"];

  // Nothing is synced, so any of the files may have its name and not its content.
  test.each(lost)("that leaves %j of any of the files costs no address", async (content) => {
    for (let mask = 1; mask < 1 << files.length; mask++) {
      using data = createDataDir();
      await add(data.open(), ours, { ranges: sets });
      for (const [bit, name] of files.entries()) {
        if (mask & (1 << bit)) fs.writeFileSync(join(data.path, "mynet", name), content);
      }
      const ipam = data.open();
      const addresses = await add(ipam, ours, { ranges: sets });
      expect(await heldBy(ipam, [ours])).toEqual(addresses);
      expect(addresses).toHaveLength(2);
      expect(data.addresses().sort()).toEqual(addresses);
      await ipam.release(ours, never);
      expect(data.addresses()).toEqual([]);
    }
  });
});
