import { expect, test } from "vitest";
import { aNode, cidr, ifName, interfaceCidr } from "../../test/support/builders.ts";
import { settleMembership } from "../cluster/membership.ts";
import { planNode } from "./plan.ts";

const eth0 = ifName("eth0");

test.each([
  ["172.30.1.11/24", []],
  [
    "10.240.0.1/12",
    [
      'Pod CIDR 10.244.1.0/24 of this node overlaps the network 10.240.0.0/12 of its interface "eth0": ' +
        "pods do not reach machines there under such addresses; expected one apart from it",
    ],
  ],
])("a block that overlaps the network of the underlay %s is named", (address, expected) => {
  const own = interfaceCidr(address);
  const settings = {
    podCidrs: [cidr("10.244.0.0/16")],
    backend: "auto" as const,
    vni: 1,
    port: 4789,
    mtu: "auto" as const,
    nodeName: "node-a",
    checksumOffload: true,
    interface: "auto" as const,
    masquerade: { isEnabled: true, except: [] },
    dnsAddresses: [],
    isDnsAhead: true,
  };
  const node = aNode("node-a", own.address, "10.244.1.0/24");
  const { problems, local } = planNode({
    settings,
    membership: settleMembership([node], settings.podCidrs),
    links: [
      {
        link: { name: eth0, index: 2, mtu: 1500, isUp: true, group: 0 },
        addresses: [{ device: eth0, ...own }],
      },
    ],
    missingNodeHint: "",
  });
  expect(problems.map(({ message }) => message)).toEqual(expected);
  // It is used all the same: who has chosen it may know that nobody is there.
  expect(local?.node.podCidrs).toEqual(["10.244.1.0/24"]);
});
