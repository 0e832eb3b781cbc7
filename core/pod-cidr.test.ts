import { describe, expect, test } from "vitest";
import { cidr } from "../test/support/builders.ts";
import { blockIndex, vtepAddress } from "./pod-cidr.ts";

describe("blockIndex()", () => {
  test.each([
    ["10.244.0.0/16", "10.244.0.0/24", 0],
    ["10.244.0.0/16", "10.244.7.0/24", 7],
    ["10.244.0.0/16", "10.244.255.0/24", 255],
    ["10.244.0.0/16", "10.244.1.0/26", 4],
    ["10.244.0.0/16", "10.244.0.0/16", 0],
    ["fd00:10:244::/56", "fd00:10:244:3::/64", 3],
    ["0.0.0.0/0", "255.255.255.254/31", 0x7fff_ffff],
  ])("in %s: %s is block %i", (cluster, pod, index) =>
    expect(blockIndex(cidr(cluster), cidr(pod))).toBe(index),
  );

  test.each([
    ["10.244.0.0/16", "10.245.0.0/24", "outside"],
    ["10.244.0.0/16", "10.0.0.0/8", "larger than the cluster CIDR"],
    ["10.244.0.0/16", "fd00::/64", "of the other family"],
    ["::/0", "ffff::/64", "beyond a route metric"],
  ])("in %s: %s has none, being %s", (cluster, pod) =>
    expect(blockIndex(cidr(cluster), cidr(pod))).toBeUndefined(),
  );
});

test("vtepAddress() is the network address", () => {
  expect(vtepAddress(cidr("10.244.1.0/24"))).toBe("10.244.1.0");
  expect(vtepAddress(cidr("fd00:10:244:1::/64"))).toBe("fd00:10:244:1::");
});
