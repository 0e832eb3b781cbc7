import { describe, expect, test } from "vitest";
import type { LinkAddresses } from "../../core/desired/underlay.ts";
import { ifName, ip } from "../../test/support/builders.ts";
import { ownAddresses } from "./own-address.ts";

const link = (name: string, addresses: readonly string[], isUp = true): LinkAddresses =>
  ({
    link: { name: ifName(name), index: 1, isUp, mtu: 1500 },
    addresses: addresses.map((address) => ({
      device: ifName(name),
      address: ip(address),
      prefixLength: 24,
    })),
  }) as unknown as LinkAddresses;

const links = [
  link("lo", ["127.0.0.1", "192.0.2.99"]),
  link("eth0", ["fe80::1", "192.0.2.1", "192.0.2.2", "2001:db8::1"]),
  link("eth1", ["198.51.100.1", "2001:db8:1::1"]),
  link("eth2", ["203.0.113.1"], false),
];

describe("the addresses that other nodes reach this one at", () => {
  test.each([
    [
      "those of the interface that is named",
      "eth1",
      "192.0.2.1",
      ["198.51.100.1", "2001:db8:1::1"],
    ],
    ["the one towards etcd, and its neighbour", "auto", "192.0.2.2", ["192.0.2.2", "2001:db8::1"]],
    ["the one towards etcd in IPv6", "auto", "2001:db8:1::1", ["2001:db8:1::1", "198.51.100.1"]],
    ["the first where etcd is here", "auto", "127.0.0.1", ["192.0.2.1", "2001:db8::1"]],
    ["the first where etcd was never reached", "auto", undefined, ["192.0.2.1", "2001:db8::1"]],
    ["none of an interface that is down", "eth2", "192.0.2.1", []],
    ["none of an interface that is not there", "eth9", "192.0.2.1", []],
  ])("are %s", (_, wanted, towards, addresses) => {
    const found = ownAddresses(
      wanted === "auto" ? "auto" : ifName(wanted),
      towards === undefined ? undefined : ip(towards),
      links,
    );
    expect(found).toEqual(addresses);
  });
});
