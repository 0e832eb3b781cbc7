import { describe, expect, test } from "vitest";
import { ifName, interfaceCidr, ip } from "../../test/support/builders.ts";
import type { Link } from "../network.ts";
import { chooseUnderlay, isOnLink, isUnderlayCandidate, type LinkAddresses } from "./underlay.ts";

const link = (name: string, index: number, more: Partial<Link> = {}): Link => ({
  index,
  name: ifName(name),
  mtu: 1500,
  isUp: true,
  group: 0,
  ...more,
});
const carrying = (of: Link, ...addresses: readonly string[]): LinkAddresses => ({
  link: of,
  addresses: addresses.map((text) => ({ device: of.name, ...interfaceCidr(text) })),
});

const lo = carrying(link("lo", 1, { mtu: 65_536 }), "127.0.0.1/8", "::1/128");
const eth0 = carrying(link("eth0", 2), "192.0.2.7/24", "192.0.2.8/24", "2001:db8::7/64");
const eth1 = carrying(link("eth1", 3, { mtu: 9000 }), "198.51.100.7/26");
const problemOf = (choice: ReturnType<typeof chooseUnderlay>): string =>
  choice.kind === "missing" ? choice.problem : "none";

describe("chooseUnderlay()", () => {
  test("finds the interface with the address of the Node object", () => {
    expect(chooseUnderlay("auto", [ip("198.51.100.7")], [lo, eth0, eth1])).toEqual({
      kind: "found",
      underlay: {
        device: "eth1",
        index: 3,
        mtu: 9000,
        addresses: ["198.51.100.7"],
        networks: ["198.51.100.0/26"],
      },
    });
  });

  test("takes an address of each family", () => {
    const choice = chooseUnderlay("auto", [ip("192.0.2.8"), ip("2001:db8::7")], [lo, eth0]);
    expect(choice).toMatchObject({ underlay: { addresses: ["192.0.2.8", "2001:db8::7"] } });
  });

  test.each([
    [
      "auto",
      ["192.0.2.9"],
      "Cannot find an interface with address 192.0.2.9 of this Node: there are lo 127.0.0.1/8, lo ::1/128, eth0 192.0.2.7/24, eth0 192.0.2.8/24, eth0 2001:db8::7/64, eth1 198.51.100.7/26",
    ],
    ["auto", [], "Cannot choose an interface: this Node has no InternalIP"],
    [
      "eth2",
      ["192.0.2.7"],
      'Cannot find the interface "eth2" of network.interface: there are lo 127.0.0.1/8, lo ::1/128, eth0 192.0.2.7/24, eth0 192.0.2.8/24, eth0 2001:db8::7/64, eth1 198.51.100.7/26',
    ],
    [
      "eth1",
      ["192.0.2.7"],
      'Cannot use the interface "eth1" of network.interface: it lacks address 192.0.2.7 of this Node',
    ],
  ] as const)("with interface %s and addresses %j says why not", (name, addresses, problem) => {
    const wanted = name === "auto" ? name : ifName(name);
    expect(problemOf(chooseUnderlay(wanted, addresses.map(ip), [lo, eth0, eth1]))).toBe(problem);
  });

  test("does not use an interface that is down", () => {
    const down = carrying(link("eth0", 2, { isUp: false }), "192.0.2.7/24");
    expect(problemOf(chooseUnderlay("auto", [ip("192.0.2.7")], [down]))).toBe(
      'Cannot use the interface "eth0": it is down',
    );
  });
});

test("isUnderlayCandidate() leaves out what is ours", () => {
  const names = ["eth0", "fl-vxlan", "fl0123456789ab", "flannel.1", "florida"];
  expect(names.filter((name) => isUnderlayCandidate(link(name, 9)))).toEqual([
    "eth0",
    "flannel.1",
    "florida",
  ]);
});

test("isOnLink() knows what needs no router", () => {
  const choice = chooseUnderlay("auto", [ip("192.0.2.7")], [eth0]);
  if (choice.kind !== "found") throw new Error("no underlay");
  expect(isOnLink(choice.underlay, ip("192.0.2.200"))).toBe(true);
  expect(isOnLink(choice.underlay, ip("2001:db8::ffff"))).toBe(true);
  expect(isOnLink(choice.underlay, ip("192.0.3.1"))).toBe(false);
});
