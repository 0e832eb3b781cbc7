import { expect, test } from "vitest";
import { cidr } from "../test/support/builders.ts";
import { blockIndex } from "./pod-cidr.ts";

test.each([
  ["10.0.0.0/8", "10.0.0.0/24", 0],
  ["10.0.0.0/8", "10.1.2.0/24", 258],
  ["10.0.0.0/8", "10.255.255.0/24", 65_535],
  ["10.0.0.0/8", "11.0.0.0/24", undefined],
  ["192.168.0.0/16", "192.168.0.0/16", 0],
  ["0.0.0.0/0", "0.0.0.0/0", 0],
  ["0.0.0.0/0", "255.255.255.254/32", 0xffff_fffe],
  ["0.0.0.0/0", "255.255.255.255/32", undefined],
  ["fd00:10:244::/56", "fd00:10:244:3::/64", 3],
  ["fd00::/16", "fd00:1::/96", undefined],
])("blockIndex() in %s of %s is %s", (clusterCidr, podCidr, index) => {
  expect(blockIndex(cidr(clusterCidr), cidr(podCidr))).toBe(index);
});
