// Ranges of a configuration's own that would take addresses from others, through the whole of ADD.
import { expect, test } from "vitest";
import { CniCode } from "../core/cni/error.ts";
import { ownIpamType } from "../core/cni/config.ts";
import type { RangeConf } from "../core/cni/types.ts";
import { vxlanDevice } from "../core/names.ts";
import { aRequest, createFakeMachine, createNode, facts, forever } from "../test/attach/fixture.ts";
import { cidr, ip, mac } from "../test/support/builders.ts";

const clusterFacts = {
  ...facts,
  clusterCidrs: [cidr("10.244.0.0/16")],
  pools: [{ name: "db", cidrs: [cidr("10.250.0.0/16")] }],
  serviceCidrs: [cidr("10.97.0.0/16")],
};

function ask(range: RangeConf, place: { readonly name?: string; readonly dataDir?: string } = {}) {
  const kernel = createFakeMachine();
  kernel.addDevice({ name: vxlanDevice, mac: mac("02:00:00:00:00:02") });
  const entry = { device: vxlanDevice, mac: mac("02:00:00:00:00:03"), isPermanent: true };
  kernel.apply([{ kind: "replace-fdb", entry: { ...entry, destination: ip("172.30.1.12") } }]);
  const node = createNode(kernel, { nodeFacts: () => clusterFacts });
  const { name = facts.network, dataDir } = place;
  const from = { ranges: [[range]], routes: [], requestedIps: [], ...(dataDir && { dataDir }) };
  const conf = { name, ipam: { type: ownIpamType, ...from } };
  return { node, reply: node.handlers.add(aRequest({ conf }), forever) };
}

const bounded = (subnet: string, address: string): RangeConf => ({
  subnet: cidr(subnet),
  rangeStart: ip(address),
  rangeEnd: ip(address),
  gateway: ip(subnet.replace(/\/.*/, "")),
});

test.each([
  [bounded("172.30.1.0/24", "172.30.1.12"), "172.30.1.12, another node's own address"],
  [bounded("192.0.2.0/24", "192.0.2.1"), "192.0.2.1, this node's own address"],
  [bounded("2001:db8::/64", "2001:db8::1"), "2001:db8::1, this node's own address"],
  [bounded("10.96.0.0/24", "10.96.0.10"), "10.96.0.10, the cluster's DNS service address"],
  [{ subnet: cidr("10.97.3.0/24") }, "the services' network 10.97.0.0/16"],
  [{ subnet: cidr("10.244.2.0/24") }, "the cluster's pod network 10.244.0.0/16 outside"],
  [{ subnet: cidr("10.244.0.0/23") }, "the cluster's pod network 10.244.0.0/16 outside"],
  [{ subnet: cidr("10.250.2.0/24") }, "the cluster's pod network 10.250.0.0/16 outside"],
  [{ subnet: cidr("127.0.0.0/8") }, "127.0.0.0/8, which is loopback"],
  [{ subnet: cidr("224.0.0.0/4") }, "224.0.0.0/4, which is multicast"],
  [{ subnet: cidr("0.0.0.0/8") }, "0.0.0.0/8, which is unspecified"],
  [{ subnet: cidr("169.254.0.0/16") }, "169.254.0.0/16, which is link-local"],
  [{ subnet: cidr("fe80::/10") }, "fe80::/10, which is link-local"],
  [{ subnet: cidr("ff00::/8") }, "ff00::/8, which is multicast"],
])("ADD refuses %j", async (range, expected) => {
  const { node, reply } = ask(range);
  using _node = node;
  await expect(reply).rejects.toMatchObject({
    code: CniCode.invalidConfig,
    message: expect.stringContaining(expected),
  });
  expect(node.leftovers()).toEqual([]);
});

test.each([
  [bounded("172.30.1.0/24", "172.30.1.13"), "172.30.1.13"],
  [{ subnet: cidr("10.244.1.128/25") }, "10.244.1.130"],
  [{ subnet: cidr("10.7.0.0/24") }, "10.7.0.2"],
])("ADD gives of %j, which is nobody's", async (range, expected) => {
  const { node, reply } = ask(range);
  using _node = node;
  expect((await reply).ips.map(({ address }) => address.address)).toEqual([expected]);
});

test.each([{ name: "storage" }, { dataDir: "/run/leases" }])(
  "ADD refuses to %j what the daemon's network gives of the node's blocks",
  async (place) => {
    for (const subnet of ["10.244.1.128/25", "10.244.0.0/16"]) {
      const { node, reply } = ask({ subnet: cidr(subnet) }, place);
      using _node = node;
      await expect(reply).rejects.toMatchObject({
        code: CniCode.invalidConfig,
        message: expect.stringContaining(
          'this node\'s block 10.244.1.0/24, whose addresses network "fairlead"',
        ),
      });
      expect(node.leftovers()).toEqual([]);
    }
  },
);

test("ADD refuses to keep leases of the node's blocks in another directory", async () => {
  using node = createNode(createFakeMachine());
  const { ipam } = aRequest().conf;
  const conf = { ipam: { ...ipam, dataDir: "/run/leases" } };
  await expect(node.handlers.add(aRequest({ conf }), forever)).rejects.toMatchObject({
    code: CniCode.invalidConfig,
    message: expect.stringContaining('Invalid ipam.dataDir "/run/leases"'),
  });
});
