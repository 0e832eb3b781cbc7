import { describe, expect, test } from "vitest";
import {
  attachmentMacs,
  attachmentMetric,
  hostInterfaceName,
  isPodHostInterface,
  parseIfName,
  vtepMac,
} from "./names.ts";

const key = { network: "fairlead", containerId: "a51debf7e1eb", ifName: "eth0" };

describe("hostInterfaceName()", () => {
  // Pinned: a change would orphan the interfaces of running pods.
  test("is stable over versions", () =>
    expect(hostInterfaceName(key)).toMatchInlineSnapshot(`"fl57cb7c6c17ad"`));

  test("is ours, legal, and differs by each part of the key", () => {
    const names = [
      key,
      { ...key, network: "other" },
      { ...key, containerId: "a51debf7e1ec" },
      { ...key, ifName: "eth1" },
    ].map(hostInterfaceName);
    expect(new Set(names).size).toBe(4);
    for (const name of names) {
      expect(isPodHostInterface(name)).toBe(true);
      expect(parseIfName(name)).toBe(name);
    }
  });
});

test("attachmentMetric() is one of 31 bits, another for another interface", () => {
  const metric = attachmentMetric(key);
  expect(metric).toBeGreaterThan(0);
  expect(metric).toBeLessThanOrEqual(2 ** 31);
  expect(attachmentMetric({ ...key })).toBe(metric);
  expect(attachmentMetric({ ...key, ifName: "net9" })).not.toBe(metric);
});

test("attachmentMacs() are two different, locally administered, unicast addresses", () => {
  const { host, pod } = attachmentMacs(key);
  expect(host).not.toBe(pod);
  for (const mac of [host, pod]) expect(Number.parseInt(mac.slice(0, 2), 16) & 3).toBe(2);
});

test("vtepMac() depends on the node and the VNI alone", () => {
  expect(vtepMac("node-a", 1)).toMatchInlineSnapshot(`"fa:b3:ff:64:56:f3"`);
  expect(vtepMac("node-a", 2)).not.toBe(vtepMac("node-a", 1));
  expect(vtepMac("node-b", 1)).not.toBe(vtepMac("node-a", 1));
});

describe("parseIfName()", () => {
  test.each(["eth0", "a", "eth0.10", "123456789012345", "\uFEFFx"])("takes %j", (text) =>
    expect(parseIfName(text)).toBe(text),
  );
  // The limit counts octets, white space is Go's.
  test.each([
    "",
    ".",
    "..",
    "a/b",
    "a:b",
    "a b",
    "a\tb",
    "e%d",
    "a\u0085b",
    "1234567890123456",
    "éééééééé",
  ])("refuses %j", (text) => expect(parseIfName(text)).toBeUndefined());
});
