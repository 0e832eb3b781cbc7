import { expect, test } from "vitest";
import { parseSubnetEnv } from "./flannel.ts";

test("parseSubnetEnv() reads both families, masks the bridge's address away, and skips the rest (flannel-04)", () => {
  const text = `FLANNEL_NETWORK=10.244.0.0/16,10.245.0.0/16
FLANNEL_SUBNET=10.244.3.1/24
FLANNEL_IPV6_NETWORK=fd00:10:244::/48
FLANNEL_IPV6_SUBNET=fd00:10:244:3::1/64
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
# a line
`;
  expect(parseSubnetEnv(text)).toEqual({
    networks: ["10.244.0.0/16", "10.245.0.0/16", "fd00:10:244::/48"],
    subnets: ["10.244.3.0/24", "fd00:10:244:3::/64"],
  });
  expect(parseSubnetEnv("")).toEqual({ networks: [], subnets: [] });
  expect(() => parseSubnetEnv("FLANNEL_SUBNET=here")).toThrow(
    'Cannot use FLANNEL_SUBNET "here": expected an address with a prefix length',
  );
});
