// What somebody may do to a pod's end at the node, each alone on the real kernel, with the daemon's reconcile loop
// beside: after it the pod has what it had before, in the words of the kernel's own tools.
import { expect, test, vi } from "vitest";
import { silentLog } from "../../core/log.ts";
import { hostInterfaceName } from "../../core/names.ts";
import { RepairLedger } from "../../core/repair-ledger.ts";
import { Mending } from "../../daemon/attachments/mending.ts";
import { systemClock } from "../../kernel/clock.ts";
import { aRequest, createNode, dualStackFacts, forever } from "../attach/fixture.ts";
import { ip } from "../support/builders.ts";
import { createNamespace } from "../support/netns.ts";
import { openOneNode, waiting } from "./one-node.ts";

// Only notifications lead to a look.
const timing = { pauseMs: 5, resyncMs: 3_600_000, backoffMs: 1, backoffMaxMs: 1 };
const nodeAddresses = [ip("172.30.1.11"), ip("2001:db8:1::11")];

async function attachOne() {
  await using stack = new AsyncDisposableStack();
  const pod = stack.use(createNamespace());
  const told: Mending[] = [];
  const one = stack.use(
    openOneNode(
      {},
      {
        onPods: (event) => told.forEach((mending) => mending.notice(event)),
        onElsewhere: (event) => told.forEach((mending) => mending.noticeElsewhere(event)),
      },
    ),
  );
  await one.reach([]);
  const facts = { ...dualStackFacts, nodeAddresses };
  const { handlers } = stack.use(createNode(one.kernel, { nodeFacts: () => facts }));
  stack.defer(() => handlers.settled());
  const request = aRequest({ containerId: pod.name, netns: pod.path });
  const { ips } = await handlers.add(request, forever);
  const device = hostInterfaceName(request.key);
  const ledger = new RepairLedger();
  const mending = stack.use(
    new Mending({ handlers, ledger, clock: systemClock, log: silentLog, timing }),
  );
  told.push(mending);
  mending.start();
  const shown = `ip -d link show ${device}; ip address show dev ${device} scope link
    ip -d -4 route show table main; ip -d -6 route show table main | grep -v ^unicast.fe80
    ip neighbor show dev ${device} nud permanent; sysctl net.ipv6.conf.${device}.disable_ipv6`;
  const asShown = (): string => one.node.run("sh", "-c", shown);
  const kept = stack.move();
  return {
    device,
    addresses: ips.map(({ address }) => address.address),
    ledger,
    pod,
    run: (words: string) => one.node.run("sh", "-c", words),
    asShown,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

const gateways = { 4: "172.30.1.1", 6: "2001:db8:1::1" };
const ofRoutes = (["4", "6"] as const).flatMap((family) => [
  `ip -${family} route replace POD${family} via ${gateways[family]} proto 76`,
  `ip -${family} route replace blackhole POD${family} proto 76`,
  `ip -${family} route replace unreachable POD${family} proto 76`,
  `ip -${family} route replace POD${family} dev eth0 proto static`,
  `ip -${family} nexthop replace id 4${family} blackhole; ip -${family} route replace POD${family} nhid 4${family} proto 76`,
]);

test.each([
  // The uplink is whose machine it is.
  `sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.eth0.disable_ipv6=0
  ip address add ${nodeAddresses[1]}/64 dev eth0 nodad`,
  "sysctl -qw net.ipv6.conf.DEVICE.disable_ipv6=1",
  ...ofRoutes,
  "ip link set DEVICE mtu 800",
])("a pod has again what it had, after %s", async (words) => {
  await using attached = await attachOne();
  const { device, addresses, ledger, pod } = attached;
  const before = attached.asShown();
  const [four = "", six = ""] = addresses;
  attached.run(words.replaceAll("DEVICE", device).replaceAll("POD4", four).replaceAll("POD6", six));
  await vi.waitFor(
    () => {
      expect(ledger.entries()).not.toEqual([]);
      expect(attached.asShown()).toEqual(before);
    },
    { ...waiting, timeout: 10_000, interval: 20 },
  );
  for (const address of nodeAddresses) pod.run("ping", "-c1", "-W5", address);
});
