// A node that gets a further pod CIDR, and loses it while a pod lives in it: see three-nodes.ts.
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { TestNamespace } from "../support/netns.ts";
import {
  nodeNames,
  type NodeName,
  outsideAddress,
  ping,
  type RunningNode,
  ThreeNodes,
  waiting,
} from "./three-nodes.ts";

const address = "10.244.13.2";

const config = "network: { pools: [{ name: db, cidrs: [10.250.0.0/16] }] }";

describe("a further block of a node", () => {
  let lab: ThreeNodes;
  let running: Record<NodeName, RunningNode>;
  let pod: TestNamespace;
  let others: readonly TestNamespace[];

  /** In every node's cluster.d. */
  const write = (name: string, object: object): void => {
    for (const node of nodeNames) {
      const path = join(lab.clusterOf(node), name);
      writeFileSync(`${path}.tmp`, JSON.stringify(object));
      renameSync(`${path}.tmp`, path);
    }
  };
  const remove = (name: string): void => {
    for (const node of nodeNames) rmSync(join(lab.clusterOf(node), name));
  };
  const node = (name: NodeName, internalIp: string, ...podCIDRs: readonly string[]) => ({
    apiVersion: "v1",
    kind: "Node",
    metadata: { name },
    spec: { podCIDRs },
    status: { addresses: [{ type: "InternalIP", address: internalIp }] },
  });
  const routesTo = (from: NodeName, destination: string): string =>
    lab.nodes[from].run("ip", "route", "show", destination, "proto", "76");

  beforeAll(async () => {
    lab = new ThreeNodes();
    remove("nodes.yaml");
    write("a.json", node("node-a", "172.30.1.11", "10.244.1.0/24"));
    write("b.json", node("node-b", "172.30.1.12", "10.244.2.0/24"));
    write("c.json", node("node-c", "172.30.2.13", "10.244.3.0/24"));
    running = await lab.startAll({ config });
    others = [lab.addPod("node-a", "10.244.1.2"), lab.addPod("node-b", "10.244.2.2")];
    write("c.json", node("node-c", "172.30.2.13", "10.244.3.0/24", "10.244.13.0/24"));
    pod = lab.addPod("node-c", address);
  });
  afterAll(() => lab[Symbol.asyncDispose]());

  const expectReachable = (): void => {
    for (const other of others) expect(ping(other, address)).toContain("1 received");
    expect(ping(pod, "10.244.1.2")).toContain("1 received");
    expect(ping(lab.nodes["node-a"], address)).toContain("1 received");
    // The outside knows no pod networks: this comes back only to the node's own address.
    expect(ping(pod, outsideAddress)).toContain("1 received");
  };

  test("is routed like the first", async () => {
    for (const name of ["node-a", "node-b"] as const) {
      await vi.waitFor(() => expect(routesTo(name, "10.244.13.0/24")).not.toBe(""), waiting);
    }
    await vi.waitFor(
      () => expect(lab.nodes["node-c"].run("ip", "address")).toContain("10.244.13.0/32"),
      waiting,
    );
    expectReachable();
    expect(running["node-c"].reconciler.state()?.problems).toEqual([]);
  });

  test("is taken away without cutting its pod off, until the pod has ended", async () => {
    write("pod.json", {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "left", namespace: "demo" },
      spec: { nodeName: "node-c" },
      status: { podIP: address },
    });
    write("c.json", node("node-c", "172.30.2.13", "10.244.3.0/24"));
    for (const name of ["node-a", "node-b"] as const) {
      await vi.waitFor(() => expect(routesTo(name, "10.244.13.0/24")).toBe(""), waiting);
      await vi.waitFor(() => expect(routesTo(name, address)).not.toBe(""), waiting);
    }
    await vi.waitFor(
      () =>
        expect(JSON.stringify(running["node-c"].reconciler.state()?.problems)).toContain(address),
      waiting,
    );
    expectReachable();

    remove("pod.json");
    lab.removePod("node-c", address);
    for (const name of ["node-a", "node-b"] as const) {
      await vi.waitFor(() => expect(routesTo(name, address)).toBe(""), waiting);
    }
    await vi.waitFor(
      () => expect(running["node-c"].reconciler.state()?.problems).toEqual([]),
      waiting,
    );
  });

  test("may be a pool's: its pods are the cluster's like all others", async () => {
    write("c.json", node("node-c", "172.30.2.13", "10.244.3.0/24", "10.250.3.0/24"));
    for (const name of ["node-a", "node-b"] as const) {
      await vi.waitFor(() => expect(routesTo(name, "10.250.3.0/24")).not.toBe(""), waiting);
    }
    const member = lab.addPod("node-c", "10.250.3.2");
    await vi.waitFor(
      () => expect(lab.nodes["node-c"].run("ip", "address")).toContain("10.250.3.0/32"),
      waiting,
    );
    for (const other of others) expect(ping(other, "10.250.3.2")).toContain("1 received");
    expect(ping(member, outsideAddress)).toContain("1 received");
    // Not masqueraded on the way to a pod, but to the outside.
    const sets = (set: string) =>
      lab.nodes["node-c"].run("nft", "list", "set", "inet", "fairlead", set);
    expect(sets("inside4")).toContain("10.250.0.0/16");
    expect(sets("pods4")).toContain("10.250.3.0/24");
    expect(running["node-c"].reconciler.state()?.problems).toEqual([]);
  });
});
