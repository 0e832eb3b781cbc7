import { expect, test } from "vitest";
import { cidr } from "../test/support/builders.ts";
import { nodePools } from "./pool.ts";

test("nodePools() puts each block into the pool that contains it, else into the default one", () => {
  const podCidrs = ["10.250.1.0/24", "10.244.1.0/24", "fd00:250::/64", "10.250.9.0/24"].map(cidr);
  const pools = [
    { name: "db", cidrs: [cidr("10.250.0.0/16"), cidr("fd00:250::/48")] },
    { name: "edge", cidrs: [cidr("10.251.0.0/16")] },
  ];
  expect(nodePools(podCidrs, pools)).toEqual([
    { name: "default", podCidrs: ["10.244.1.0/24"] },
    { name: "db", podCidrs: ["10.250.1.0/24", "fd00:250::/64", "10.250.9.0/24"] },
    { name: "edge", podCidrs: [] },
  ]);
  expect(nodePools(podCidrs, [])).toEqual([{ name: "default", podCidrs }]);
});
