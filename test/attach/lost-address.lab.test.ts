// A node whose addresses somebody takes away, and gives back, on the real kernel: with them go the routes to
// its pods.
import { expect, test, vi } from "vitest";
import { CniCode } from "../../core/cni/error.ts";
import { silentLog } from "../../core/log.ts";
import { isPodHostInterface, routeProtocol } from "../../core/names.ts";
import { RepairLedger } from "../../core/repair-ledger.ts";
import { Mending } from "../../daemon/attachments/mending.ts";
import { systemClock } from "../../kernel/clock.ts";
import { openKernel } from "../../kernel/linux.ts";
import { createNamespace } from "../support/netns.ts";
import { aRequest, createNode, dualStackFacts, forever } from "./fixture.ts";

const waiting = { timeout: 30_000, interval: 5 };
// Only notifications lead to a look.
const timing = { pauseMs: 5, resyncMs: 3_600_000, backoffMs: 1, backoffMaxMs: 1 };

test("a node without its addresses keeps its pods connected, and their sources come back", async () => {
  using host = createNamespace();
  using one = createNamespace();
  using two = createNamespace();
  using late = createNamespace();
  host.run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "wire");
  for (const end of ["uplink", "wire"]) host.run("ip", "link", "set", end, "up");
  for (const name of ["ipv4/ip_forward", "ipv6/conf/all/forwarding"])
    host.run("sysctl", "-qw", `net/${name}=1`);
  const addresses = [
    ["192.0.2.1/24", "dev", "uplink"],
    ["2001:db8::1/64", "dev", "uplink", "nodad"],
  ];
  const giveBack = () => addresses.forEach((args) => host.run("ip", "address", "add", ...args));
  giveBack();
  using kernel = openKernel({ namespace: host.path });
  using node = createNode(kernel, { nodeFacts: () => dualStackFacts });
  const { handlers } = node;
  const request = (pod: typeof one) => aRequest({ containerId: pod.name, netns: pod.path });
  await handlers.add(request(one), forever);
  const { ips } = await handlers.add(request(two), forever);
  const routes = () =>
    kernel
      .routes({ protocol: routeProtocol })
      .toSorted((a, b) => a.destination.localeCompare(b.destination));
  const before = routes();
  expect(before).toHaveLength(4);
  const ledger = new RepairLedger();
  using mending = new Mending({ handlers, ledger, clock: systemClock, log: silentLog, timing });
  using _watch = kernel.watch((event) => mending.noticeElsewhere(event), {
    apart: { includes: isPodHostInterface, onChange: (event) => mending.notice(event) },
  });
  mending.start();
  host.run("ip", "address", "flush", "dev", "uplink", "scope", "global");
  const bare = before.map((route) => {
    const { source: _, ...rest } = route;
    return rest;
  });
  await vi.waitFor(() => expect(routes()).toEqual(bare), waiting);
  for (const { address } of ips) one.run("ping", "-c1", "-W5", address.address);
  await expect(handlers.add(request(late), forever)).rejects.toMatchObject({
    code: CniCode.tryAgainLater,
  });
  giveBack();
  await vi.waitFor(() => expect(routes()).toEqual(before), waiting);
  for (const pod of [one, two]) await handlers.del(request(pod), forever);
  await handlers.settled();
  expect(node.leftovers()).toEqual([]);
});
