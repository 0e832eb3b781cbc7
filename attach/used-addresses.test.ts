// Addresses that are in use though no lease says so: the next one is given, at once.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ownIpamType } from "../core/cni/config.ts";
import { CniCode } from "../core/cni/error.ts";
import { normalRoute } from "../core/network.ts";
import {
  aRequest,
  createFakeMachine,
  createNode,
  facts,
  forever,
  type TestNode,
} from "../test/attach/fixture.ts";
import { cidr, ifName, ip } from "../test/support/builders.ts";

const small = { ...facts, podCidrs: [cidr("10.244.1.0/29")] };
const open = () => {
  const kernel = createFakeMachine();
  return { kernel, node: createNode(kernel, { nodeFacts: () => small }) };
};
const add = async (node: TestNode, request: ReturnType<typeof aRequest>) =>
  (await node.handlers.add(request, forever)).ips.map(({ address }) => address.address);
const holders = async (node: TestNode, network = "fairlead") =>
  (await node.ipam.leases(network)).map((lease) => `${lease.address} ${lease.containerId}`);
const second = { containerId: "c2" };

test.each([
  ["a lease is lost", "networks/fairlead/10.244.1.2"],
  ["all that is known of leases is lost", "networks"],
])("ADD gives the next address when %s, and the pod has its lease again", async (_, lost) => {
  const { node } = open();
  using _node = node;
  await add(node, aRequest());
  rmSync(join(node.directory, lost), { recursive: true });
  rmSync(join(node.directory, "networks/.fairlead"), { recursive: true, force: true });
  rmSync(join(node.directory, "networks/fairlead/last_reserved_ip.0"), { force: true });
  const next = createNode(node.context.kernel, { nodeFacts: () => small }, node.directory);
  expect(await add(next, aRequest(second))).toEqual(["10.244.1.3"]);
  expect(await holders(next)).toEqual(["10.244.1.2 c1", "10.244.1.3 c2"]);
  for (const one of [aRequest(), aRequest(second)]) await next.handlers.del(one, forever);
  await next.handlers.settled();
  expect(next.leftovers()).toEqual([]);
});

const theirs = normalRoute({
  destination: cidr("10.244.1.2/32"),
  device: ifName("uplink"),
  metric: 0,
  table: 254,
  type: "unicast",
  protocol: 3,
  scope: "link",
});

test("ADD gives no address that somebody's route has, asked for or not", async () => {
  const { kernel, node } = open();
  using _node = node;
  kernel.apply([{ kind: "add-route", route: theirs }]);
  const ipam = { ...aRequest().conf.ipam, requestedIps: [ip("10.244.1.2")] };
  await expect(add(node, aRequest({ conf: { ipam } }))).rejects.toMatchObject({
    code: CniCode.invalidConfig,
    message: expect.stringContaining('requested address "10.244.1.2"'),
  });
  expect(await holders(node)).toEqual([]);
  expect(await add(node, aRequest())).toEqual(["10.244.1.3"]);
  expect(kernel.routes({ device: ifName("uplink") })).toContainEqual(theirs);
});

test("ADD gives no address that a pod of another network with the same range has", async () => {
  const { node } = open();
  using _node = node;
  const conf = (name: string) => {
    const from = { ranges: [[{ subnet: cidr("10.7.0.0/29") }]], routes: [], requestedIps: [] };
    return { name, ipam: { type: ownIpamType, ...from } };
  };
  expect(await add(node, aRequest({ conf: conf("one") }))).toEqual(["10.7.0.2"]);
  expect(await add(node, aRequest({ ...second, conf: conf("two") }))).toEqual(["10.7.0.3"]);
  expect(await holders(node, "one")).toEqual(["10.7.0.2 c1"]);
  expect(await holders(node, "two")).toEqual(["10.7.0.3 c2"]);
});

test("ADD refuses such an address of another IPAM plugin, once, and gives it back", async () => {
  const { kernel, node } = open();
  using _node = node;
  kernel.apply([{ kind: "add-route", route: theirs }]);
  const calls = join(node.directory, "calls");
  writeFileSync(
    join(node.directory, "theirs"),
    `#!/bin/sh\necho $CNI_COMMAND >>${calls}\n` +
      `[ $CNI_COMMAND = DEL ] || echo '{"cniVersion":"1.0.0","ips":[{"address":"10.244.1.2/24"}]}'\n`,
    { mode: 0o755 },
  );
  const ipam = { type: "theirs", ranges: [], routes: [], requestedIps: [] };
  const conf = {
    cniVersion: "1.0.0" as const,
    ipam,
    raw: '{"name":"fairlead","ipam":{"type":"theirs"}}',
  };
  const environment = { CNI_PATH: node.directory };
  await expect(add(node, aRequest({ conf, environment }))).rejects.toMatchObject({
    code: CniCode.internal,
    message: 'Cannot use the address 10.244.1.2: this node reaches it over "uplink"',
  });
  expect(readFileSync(calls, "utf8")).toBe("ADD\nDEL\n");
  expect(node.records.list().records).toEqual([]);
  expect(kernel.routes({ device: ifName("uplink") })).toContainEqual(theirs);
});
