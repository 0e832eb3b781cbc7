// Each thing that somebody may do to an object of ours (somebody.ts), alone on the real kernel: after it the
// node has what it had before, in the words of the kernel's own tools.
import { beforeAll, describe, expect, test, vi } from "vitest";
import { familyOf } from "../../core/address.ts";
import { checksumOffloadOff } from "../../core/device-option.ts";
import { vxlanDevice } from "../../core/names.ts";
import { openKernel } from "../../kernel/linux.ts";
import { aNode, cidr, ip } from "../support/builders.ts";
import { type OneNode, openOneNode, waiting } from "./one-node.ts";
import { ofDevices, ofEntries, ofNeighbors, ofRoutes } from "./somebody.ts";

/** One on the link, one behind a router. */
const peers = [2, 3].map((n) => ({
  ...aNode(`node-${n}`, `172.30.${n - 1}.2${n}`, `10.244.${n}.0/24`),
  addresses: [ip(`172.30.${n - 1}.2${n}`), ip(`2001:db8:${n - 1}::${n}`)],
  podCidrs: [cidr(`10.244.${n}.0/24`), cidr(`fd00:10:244:${n}::/64`)],
}));

test("checksums are made before the tunnel where they are wanted so, whatever somebody sets", async () => {
  using one = openOneNode({ checksumOffload: false });
  using somebody = openKernel({ namespace: one.node.path });
  await one.reach(peers);
  const isOff = (): void =>
    expect(somebody.link(vxlanDevice)?.altered).toEqual([checksumOffloadOff]);
  isOff();
  const options = [{ ...checksumOffloadOff, value: 1 }, generic(0)];
  somebody.apply([{ kind: "set-link", device: vxlanDevice, settings: { options } }]);
  expect(somebody.link(vxlanDevice)?.altered).toEqual([generic(0)]);
  await vi.waitFor(isOff, waiting);
});

const generic = (value: number) =>
  ({ of: "feature", word: "rx-gro", value, usual: 1, isFixed: false }) as const;

describe("a node has again what it had, after", () => {
  let one: OneNode;
  let before: readonly string[];
  beforeAll(async () => {
    one = openOneNode();
    await one.reach(peers);
    before = one.asShown();
    return () => one[Symbol.dispose]();
  });

  const repairs = (): number =>
    Object.values(one.reconciler.counters.repairs).reduce((sum, count) => sum + count);
  const isRepaired = async (words: string): Promise<void> => {
    const counted = repairs();
    await isUndone(words);
    expect(repairs()).toBeGreaterThan(counted);
  };
  const isUndone = async (words: string): Promise<void> => {
    one.node.run("sh", "-c", words);
    const isAsBefore = (): void => expect(one.asShown()).toEqual(before);
    await vi.waitFor(isAsBefore, { ...waiting, interval: 20 });
  };
  const entries = () => one.kernel.fdb(vxlanDevice);
  const neighbors = () => one.kernel.neighbors(vxlanDevice);

  /** The one after the last one that was asked for. */
  let turn = 0;
  const inTurn = <T>(items: readonly T[]): T => items[turn++ % items.length]!;

  test.each(ofEntries)("%s", (_, alter) => isRepaired(alter(inTurn(entries()))));

  test.each(ofNeighbors)("%s", (_, alter) => isRepaired(alter(inTurn(neighbors()))));

  test.each(ofRoutes)("%s", async (_, alter) => {
    const routes = one.kernel.routes({ protocol: 76 }).filter(({ type }) => type === "unicast");
    for (const family of [4, 6]) {
      const ofFamily = routes.filter(({ destination }) => familyOf(destination) === family);
      expect(ofFamily).toHaveLength(2);
      await isRepaired(alter(inTurn(ofFamily)));
    }
    turn++;
  });

  test.each([
    ["rx-gro", 0],
    ["tx-checksum-ip-generic", 0],
    ["rx-udp-gro-forwarding", 1],
  ])("the device's offload %s is %d", async (word, value) => {
    using somebody = openKernel({ namespace: one.node.path });
    const counted = repairs();
    const settings = {
      options: [{ of: "feature", word, value, usual: 1 - value, isFixed: false } as const],
    };
    somebody.apply([{ kind: "set-link", device: vxlanDevice, settings }]);
    const isUndone = (): void => {
      expect(repairs()).toBeGreaterThan(counted);
      expect(somebody.link(vxlanDevice)?.altered).toBeUndefined();
    };
    await vi.waitFor(isUndone, waiting);
  });

  test.each([
    "add table inet fairlead { flags dormant; }",
    "rename chain inet fairlead hostports theirs; flush chain inet fairlead postrouting",
    "add chain inet fairlead other; add map inet fairlead theirs { type mark : verdict; elements = { 1 : jump other }; }",
  ])("nft %s", async (words) => {
    const listed = (): readonly string[] =>
      one.node.run("nft", "list", "table", "inet", "fairlead").split("\n").sort();
    const table = listed();
    const { repairs } = one.reconciler.counters;
    const counted = repairs.nftables;
    one.node.run("nft", words);
    const isUndone = (): void => {
      expect(repairs.nftables).toBeGreaterThan(counted);
      expect(listed()).toEqual(table);
    };
    await vi.waitFor(isUndone, waiting);
  });

  test.each(ofDevices)("%s", (_, alter) =>
    isUndone(alter({ entry: entries()[0], neighbor: inTurn(neighbors()) })),
  );
});
