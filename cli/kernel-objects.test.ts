import { expect, test } from "vitest";
import { overlayAlias } from "../core/desired/overlay.ts";
import { hostInterfaceName, vtepMac } from "../core/names.ts";
import { mainTable, type Route } from "../core/network.ts";
import { createFakeKernel } from "../kernel/fake.ts";
import { cidr, ifName, mac } from "../test/support/builders.ts";
import { removeKernelObjects } from "./kernel-objects.ts";

const routeTo = (destination: string, device: string, protocol: number): Route => ({
  destination: cidr(destination),
  device: ifName(device),
  metric: 0,
  table: mainTable,
  type: "unicast",
  scope: "link",
  protocol,
});

test("removeKernelObjects() takes what is ours, and leaves what only looks like it", async () => {
  using kernel = createFakeKernel();
  const pod = hostInterfaceName({ network: "fairlead", containerId: "c", ifName: "eth0" });
  kernel.addDevice({ name: ifName("eth0"), mac: mac("02:00:00:00:00:01") });
  kernel.addDevice({ name: ifName("flannel.1"), mac: mac("02:00:00:00:00:02") });
  kernel.addDevice({ name: pod, mac: mac("02:00:00:00:00:03") });
  kernel.apply([
    {
      kind: "add-vxlan",
      name: ifName("fl-vxlan"),
      mac: vtepMac("node-a", 1),
      mtu: 1450,
      vxlan: { vni: 1, port: 4789, learning: false },
    },
    { kind: "set-link", device: ifName("fl-vxlan"), settings: { alias: overlayAlias } },
    { kind: "add-route", route: routeTo("10.244.1.2/32", pod, 76) },
    { kind: "add-route", route: routeTo("10.244.2.0/24", "eth0", 76) },
    { kind: "add-route", route: routeTo("10.9.0.0/16", "eth0", 4) },
  ]);
  kernel.applyNft({ name: "fairlead", sets: [], maps: [], chains: [] });

  const removed = await removeKernelObjects(kernel);

  expect(kernel.links().map(({ name }) => name)).toEqual(["lo", "eth0", "flannel.1"]);
  expect(kernel.routes({}).map(({ destination }) => destination)).toEqual(["10.9.0.0/16"]);
  expect(kernel.observeNft("fairlead")).toBeUndefined();
  expect(removed).toHaveLength(5);
  expect(await removeKernelObjects(kernel)).toEqual([]);
});

test.each(["bridge", "vxlan"])(
  "removeKernelObjects() leaves somebody else's %s of our name",
  async (type) => {
    using kernel = createFakeKernel();
    kernel.addDevice({ name: ifName("fl-vxlan"), mac: mac("02:00:00:00:00:01"), type });
    expect(await removeKernelObjects(kernel)).toEqual([]);
    expect(kernel.link("fl-vxlan")?.type).toBe(type);
  },
);
