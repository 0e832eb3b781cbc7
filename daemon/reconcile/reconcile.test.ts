import { describe, expect, test, vi } from "vitest";
import { desiredOf } from "../../core/desired/plan.ts";
import { diffNode } from "../../core/diff.ts";
import { nftTableName, vxlanDevice } from "../../core/names.ts";
import { aNode, aSnapshot, cidr, ifName, ip, mac } from "../../test/support/builders.ts";
import { nodeA, nodeB, nodeC } from "../../test/support/overlay.ts";
import { calm, problemsOf, scene, sure, timing, waiting } from "../../test/support/reconciler.ts";
import { observeNode } from "./observe.ts";

describe("Reconciler", () => {
  test("does nothing before the source's first list", async () => {
    const { kernel, reconciler } = scene();
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(reconciler.state()).toBeUndefined();
    expect(kernel.routes({ protocol: 76 })).toEqual([]);
  });

  test("programs the node, and remembers what a setting was", async () => {
    const { source, programmed, kernel, remembered, reconciler } = scene();
    source.setNodes(nodeA, nodeB, nodeC);
    const { problems } = await programmed();
    expect(problems).toEqual([]);
    expect(kernel.link(vxlanDevice)?.mtu).toBe(1450);
    expect(kernel.observeNft(nftTableName)?.chains.has("postrouting")).toBe(true);
    expect(kernel.readSysctl("net.ipv4.ip_forward")).toBe("1");
    expect(remembered).toEqual(["net/ipv4/ip_forward 0"]);
    expect(Object.values(reconciler.counters.repairs)).toEqual([0, 0, 0, 0, 0, 0, 0]);
  });

  test("tells of nodes that the machine has no way to, until it has one, and removes nothing", async () => {
    const { source, programmed, kernel, reaches, has } = scene();
    for (const { addresses } of [nodeB, nodeC]) kernel.unrouted.add(addresses[0]!);
    source.setNodes(nodeA, nodeB, nodeC);
    await programmed();
    const state = await reaches(({ unrouted }) => unrouted.size > 0);
    // The other one is on the link.
    expect([...state.unrouted]).toEqual(["node-c"]);
    expect(problemsOf(state)).toEqual([
      'node: Cannot reach 172.30.2.13 of Node node-c: no route of this machine leads there by "eth0"; expected one, such as a default route',
    ]);
    await has("10.244.3.0/24");
    kernel.unrouted.clear();
    const other = { device: ifName("eth0"), metric: 0, table: 254, type: "unicast" } as const;
    const route = { ...other, destination: cidr("172.30.2.0/24"), scope: "link" } as const;
    kernel.apply([{ kind: "add-route", route: { ...route, protocol: 4 } }]);
    expect(problemsOf(await reaches(({ unrouted }) => unrouted.size === 0))).toEqual([]);
  });

  test("follows the cluster, in steps and back", async () => {
    const { source, has, lacks, programmed } = scene();
    source.setNodes(nodeA);
    await programmed();
    source.setNodes(nodeA, nodeC);
    await has("10.244.3.0/24");
    source.setNodes(nodeA, nodeB);
    await has("10.244.2.0/24");
    await lacks("10.244.3.0/24");
  });

  test("counts what it puts back, by kind, and nothing else", async () => {
    const { source, programmed, kernel, reconciler, ledger, has } = scene();
    source.setNodes(nodeA, nodeC);
    const { plan } = await programmed();
    const { repairs } = reconciler.counters;
    const route = desiredOf(plan).routes.find(
      ({ destination }) => destination === "10.244.3.0/24",
    )!;
    kernel.apply([{ kind: "remove-route", route }]);
    await vi.waitFor(() => expect(repairs.route).toBe(1), waiting);
    kernel.removeNft(nftTableName);
    await vi.waitFor(() => expect(repairs.nftables).toBe(1), waiting);
    kernel.writeSysctl("net.ipv4.ip_forward", "0");
    await vi.waitFor(() => expect(repairs.sysctl).toBe(1), waiting);
    source.setNodes(nodeA, nodeB, nodeC);
    await has("10.244.2.0/24");
    const line = "ip route replace 10.244.3.0/24 via 10.244.3.0 dev fl-vxlan onlink";
    expect(ledger.entries()).toMatchObject([
      { kind: "route", found: "nothing", done: expect.stringContaining(line) },
      { kind: "nftables", found: "no table", done: "nft table inet fairlead: put the table" },
      { kind: "sysctl", found: "net/ipv4/ip_forward = 0", done: "sysctl net/ipv4/ip_forward = 1" },
    ]);
    expect(ledger.entries()[0]?.afterMs).toBeGreaterThan(0);
    expect(repairs).toEqual({
      link: 0,
      address: 0,
      neighbor: 0,
      fdb: 0,
      route: 1,
      nftables: 1,
      sysctl: 1,
    });
  });

  test("puts back what another object took the place of, though that is gone too", async () => {
    const { source, programmed, rests, kernel } = scene("", calm);
    source.setNodes(nodeA, nodeC);
    await programmed();
    await rests();
    const entries = kernel.fdb(vxlanDevice);
    const entry = { ...entries[0]!, destination: ip("172.30.2.99") };
    // The kernel tells of the other one alone: that it came, and that it went.
    kernel.apply([
      { kind: "replace-fdb", entry },
      { kind: "remove-fdb", entry },
    ]);
    await vi.waitFor(() => expect(kernel.fdb(vxlanDevice)).toEqual(entries), waiting);
  });

  test("removes nothing before the source is in sync", async () => {
    const { source, has, lacks, programmed } = scene();
    source.setNodes(nodeA, nodeC);
    await programmed();
    source.set(aSnapshot({ nodes: [nodeA, nodeB], isInSync: false }));
    await has("10.244.2.0/24");
    await has("10.244.3.0/24");
    source.setNodes(nodeA, nodeB);
    await lacks("10.244.3.0/24");
  });

  test("leaves all as it is when the cluster loses this node, or all nodes", async () => {
    const { source, has, reaches, kernel, programmed } = scene();
    source.setNodes(nodeA, nodeC);
    await programmed();
    source.setNodes();
    const state = await reaches(({ isProgrammed }) => !isProgrammed);
    expect(problemsOf(state)).toEqual(["node: no node-a among 0"]);
    await has("10.244.3.0/24");
    expect(kernel.fdb(vxlanDevice)).toHaveLength(1);
    source.setNodes(nodeA, nodeC);
    expect((await programmed()).problems).toEqual([]);
  });

  test("waits for this node, and answers on the service address meanwhile", async () => {
    const { source, has, programmed, reaches, kernel } = scene();
    source.setNodes(nodeB);
    expect(problemsOf(await reaches(() => true))).toEqual(["node: no node-a among 1"]);
    await has("10.96.0.10/32");
    expect(kernel.link(vxlanDevice)).toBeUndefined();
    source.setNodes(nodeA, nodeB);
    await programmed();
  });

  test("waits for the underlay's address", async () => {
    const { source, reaches, programmed, kernel } = scene();
    source.setNodes({ ...nodeA, addresses: [ip("172.30.1.99")] });
    const state = await reaches(() => true);
    expect(problemsOf(state)).toEqual([
      "node: Cannot find an interface with address 172.30.1.99 of this Node: there are eth0 172.30.1.11/24",
    ]);
    const address = { device: ifName("eth0"), address: ip("172.30.1.99"), prefixLength: 24 };
    kernel.apply([{ kind: "add-address", address }]);
    await programmed();
  });

  test("reports a foreign device under our name, leaves it alone, and recovers when it goes", async () => {
    const { source, reaches, programmed, kernel, has } = scene();
    kernel.addDevice({ name: vxlanDevice, mac: mac("02:00:00:00:00:99"), type: "dummy" });
    source.setNodes(nodeA, nodeB, nodeC);
    const state = await reaches(({ problems }) => problems.length > 0);
    expect(problemsOf(state)).toEqual([
      "kernel: Cannot make fl-vxlan: a dummy device of this name is there that fairlead did not make; expected it removed or renamed",
    ]);
    await has("10.244.2.0/24");
    expect(kernel.link(vxlanDevice)?.type).toBe("dummy");
    kernel.apply([{ kind: "remove-link", device: vxlanDevice }]);
    await programmed();
    expect(kernel.link(vxlanDevice)?.type).toBe("vxlan");
  });

  test("names a refusal of the kernel, does the rest, and tries again", async () => {
    const { source, reaches, programmed, kernel, reconciler } = scene();
    let isRefused = true;
    const refuse = (): void =>
      kernel.failNext((change) => {
        const isUp = change.kind === "set-link" && change.settings.isUp === true;
        if (isUp && isRefused) queueMicrotask(refuse);
        return isUp && isRefused;
      }, "EADDRINUSE");
    refuse();
    source.setNodes(nodeA, nodeB);
    const state = await reaches(({ problems }) => problems.length > 0);
    expect(problemsOf(state)).toEqual([
      'kernel: Cannot apply "ip link set dev fl-vxlan up": EADDRINUSE: another program or device uses UDP port 4789 of network.vxlan.port',
    ]);
    expect(kernel.observeNft(nftTableName)).toBeDefined();
    isRefused = false;
    expect((await programmed()).problems).toEqual([]);
    expect(reconciler.counters.failures).toBeGreaterThan(0);
    expect(reconciler.counters.repairs.link).toBe(0);
  });

  test("names a kernel without VXLAN, keeps the routes on the link, and recovers when it has it", async () => {
    const { source, reaches, programmed, kernel, has } = scene();
    let isRefused = true;
    const refuse = (): void =>
      kernel.failNext(
        ({ kind }) => {
          if (kind === "add-vxlan" && isRefused) queueMicrotask(refuse);
          return kind === "add-vxlan" && isRefused;
        },
        "EOPNOTSUPP",
        "Unknown device type",
      );
    refuse();
    source.setNodes(nodeA, nodeB, nodeC);
    const state = await reaches(({ problems }) => problems.length > 0);
    expect(problemsOf(state)).toEqual([
      expect.stringMatching(
        /^kernel: Cannot apply "ip link add fl-vxlan .*: this kernel has no VXLAN; load the module vxlan, or use network.backend direct$/,
      ),
    ]);
    expect(state.isProgrammed).toBe(false);
    await has("10.244.2.0/24");
    isRefused = false;
    expect((await programmed()).problems).toEqual([]);
    expect(kernel.link(vxlanDevice)?.isUp).toBe(true);
  });

  test("names the loser of an overlap, and goes on with the others", async () => {
    const { source, programmed, has } = scene();
    source.setNodes(nodeA, nodeC, aNode("node-z", "172.30.1.19", "10.244.3.0/25"));
    const { problems, plan } = await programmed();
    expect(problems).toEqual([
      {
        area: "cluster",
        message:
          "Cannot use pod CIDR 10.244.3.0/25 of Node node-z: it overlaps that of the older Node node-c",
      },
    ]);
    expect(plan.peers.get("node-z")?.path).toBe("none");
    await has("10.244.3.0/24");
  });

  test("is not ready while its own pod CIDR is another node's", async () => {
    const { source, reaches } = scene();
    source.setNodes(
      { ...nodeA, createdAtMs: 2 },
      { ...nodeB, podCidrs: nodeA.podCidrs, createdAtMs: 1 },
    );
    const state = await reaches(() => true);
    expect(state.isProgrammed).toBe(false);
    expect(problemsOf(state)).toEqual([
      "cluster: Cannot use pod CIDR 10.244.1.0/24 of Node node-a: it overlaps that of the older Node node-b",
    ]);
  });

  test("makes the table without the tunnel and the exceptions for backend direct", async () => {
    const { source, programmed, kernel } = scene(
      "network: { backend: direct, masquerade: { except: [192.0.2.0/24] } }",
    );
    source.setNodes(nodeA, nodeB);
    await programmed();
    const table = kernel.observeNft(nftTableName);
    const chains = [...table!.chains.keys()];
    expect(chains).toContain("postrouting");
    expect(chains.filter((name) => name.startsWith("tunnel"))).toEqual([]);
    expect(table!.sets.get("inside4")).toContain("192.0.2.0/24");
  });

  test("keeps the hostPorts of the node's attachments, and no others, in the table", async () => {
    const { source, programmed, kernel, hostPorts } = scene();
    const elements = () => kernel.observeNft(nftTableName)?.maps.get("hostports4");
    source.setNodes(nodeA, nodeB);
    await programmed();
    expect(elements()).toEqual([]);
    const port = { protocol: "tcp", hostPort: 8080, containerPort: 80 } as const;
    hostPorts.push({ addresses: [ip("10.244.1.7")], portMappings: [port] });
    const isThere = () => expect(elements()).toEqual(["tcp . 8080 : 10.244.1.7 . 80"]);
    await vi.waitFor(isThere, waiting);
    kernel.removeNft(nftTableName);
    await vi.waitFor(isThere, waiting);
    hostPorts.pop();
    await vi.waitFor(() => expect(elements()).toEqual([]), waiting);
  });

  test("keeps pods whose block is taken away masqueraded, and says so until they have ended", async () => {
    const { source, reaches, programmed, kernel, podAddresses } = scene();
    const masqueraded = () => kernel.observeNft(nftTableName)?.sets.get("pods4");
    const both = { ...nodeA, podCidrs: [...nodeA.podCidrs, cidr("10.244.9.0/24")] };
    podAddresses.push(ip("10.244.1.7"), ip("10.244.9.7"));
    source.setNodes(both, nodeB);
    expect(problemsOf(await programmed())).toEqual([]);
    expect(masqueraded()).toEqual(["10.244.1.0/24", "10.244.9.0/24"]);
    source.setNodes(nodeA, nodeB);
    expect(problemsOf(await reaches(({ problems }) => problems.length > 0))).toEqual([
      "node: Pods of this node have addresses outside its pod CIDRs 10.244.1.0/24: 10.244.9.7; they stay reachable, so give their block to no other node before they have ended",
    ]);
    expect(masqueraded()).toEqual(["10.244.1.0/24", "10.244.9.7/32"]);
    podAddresses.pop();
    await reaches(({ problems }) => problems.length === 0);
    expect(masqueraded()).toEqual(["10.244.1.0/24"]);
  });

  test("neither compares nor looks at everything for one node, or one object", async () => {
    const { source, programmed, kernel, reconciler, has, rests } = scene("", calm);
    source.setNodes(nodeA, nodeB);
    await programmed();
    await rests();
    const { counters } = reconciler;
    const before = counters.comparisons;
    source.setNodes(nodeA, nodeB, nodeC);
    await has("10.244.3.0/24");
    const [route] = kernel.routes({ protocol: 76 }).filter(({ device }) => device === vxlanDevice);
    const [entry] = kernel.fdb(vxlanDevice);
    const [neighbor] = kernel.neighbors(vxlanDevice);
    kernel.apply([{ kind: "remove-route", route: route! }]);
    await vi.waitFor(() => expect(counters.repairs.route).toBe(1), waiting);
    kernel.apply([
      { kind: "remove-fdb", entry: entry! },
      { kind: "remove-neighbor", neighbor: neighbor! },
    ]);
    await vi.waitFor(
      () => expect(counters.repairs).toMatchObject({ fdb: 1, neighbor: 1 }),
      waiting,
    );
    await rests();
    expect(counters.comparisons).toBe(before);
    expect(diffNode(desiredOf(reconciler.state()!.plan), observeNode(kernel), sure)).toEqual([]);
  });

  test.each([
    ["were lost", { changes: [], overflow: true }],
    ["are too many", { changes: "many", overflow: false }],
  ] as const)("compares everything when notifications %s", async (_, event) => {
    const { source, programmed, kernel, reconciler, rests, tell } = scene("", calm);
    source.setNodes(nodeA, nodeC);
    await programmed();
    tell("nothing");
    await rests();
    const routes = kernel.routes({ protocol: 76 });
    kernel.apply(routes.map((route) => ({ kind: "remove-route", route }) as const));
    await rests();
    expect(kernel.routes({ protocol: 76 })).toEqual([]);
    tell({ ...event, objects: new Set(["route"]), devices: new Set(), lossy: new Set() });
    await vi.waitFor(() => expect(kernel.routes({ protocol: 76 })).toEqual(routes), waiting);
    expect(reconciler.counters.repairs.route).toBe(routes.length);
  });

  test("counts the device's return as a repair where what was on it is told first", async () => {
    const { source, programmed, kernel, reconciler, ledger, rests, tell } = scene("", calm);
    source.setNodes(nodeA, nodeC);
    const { plan } = await programmed();
    await rests();
    const [entry] = kernel.fdb(vxlanDevice);
    tell("nothing");
    kernel.apply([{ kind: "remove-link", device: vxlanDevice }]);
    tell({
      changes: [{ kind: "fdb-gone", item: entry! }],
      objects: new Set(["neighbor"]),
      devices: new Set(),
      lossy: new Set(),
      overflow: false,
    });
    await vi.waitFor(() => expect(kernel.fdb(vxlanDevice)).toEqual([entry]), waiting);
    await rests();
    const { repairs, failures } = reconciler.counters;
    expect(failures).toBe(0);
    expect(repairs).toMatchObject({ link: expect.any(Number), fdb: 1 });
    expect(repairs.link).toBeGreaterThan(0);
    expect(ledger.entries()[0]).toMatchObject({
      kind: "link",
      found: "nothing",
      done: expect.stringContaining("ip link add fl-vxlan"),
    });
    expect(diffNode(desiredOf(plan), observeNode(kernel), sure)).toEqual([]);
  });

  test("finds what was never told in time", async () => {
    const { source, programmed, kernel, reconciler, tell } = scene();
    source.setNodes(nodeA, nodeC);
    await programmed();
    tell("nothing");
    kernel.apply(kernel.fdb(vxlanDevice).map((entry) => ({ kind: "remove-fdb", entry }) as const));
    await vi.waitFor(() => expect(reconciler.counters.repairs.fdb).toBe(1), waiting);
  });

  test("comes to rest: no pass but for time when nothing changes", async () => {
    const { source, programmed, states } = scene();
    source.setNodes(nodeA, nodeB, nodeC);
    await programmed();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const [before, startMs] = [states.length, performance.now()];
    await new Promise((resolve) => setTimeout(resolve, 200));
    // By the time that it took: a timer may be late. One pass may have been due when it began.
    const elapsedMs = performance.now() - startMs;
    expect(states.length - before).toBeLessThanOrEqual(1 + elapsedMs / timing.resyncMs);
    const plans = states.slice(before).map(({ plan }) => plan);
    expect(new Set(plans).size).toBe(1);
  });
});
