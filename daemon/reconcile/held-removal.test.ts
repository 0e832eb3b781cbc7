import { describe, expect, test } from "vitest";
import { diffNode } from "../../core/diff.ts";
import { vxlanDevice } from "../../core/names.ts";
import { aNode, cidr } from "../../test/support/builders.ts";
import { nodeA, nodeB, nodeC, overlay } from "../../test/support/overlay.ts";
import { calm, problemsOf, scene, sure } from "../../test/support/reconciler.ts";
import { observeNode } from "./observe.ts";

describe("Reconciler", () => {
  const nodeD = aNode("node-d", "172.30.2.14", "10.244.4.0/24");

  test("keeps the ways to nodes that vanish together, says so, and takes what is new", async () => {
    const { source, has, reaches, programmed, rests, kernel, lacks } = scene("", calm);
    source.setNodes(nodeA, nodeC, nodeD);
    await programmed();
    source.setNodes(nodeA);
    const state = await reaches(({ problems }) => problems.length > 0);
    expect(state.isProgrammed).toBe(true);
    expect(problemsOf(state)[0]).toMatch(
      /^cluster: Of 2 other nodes 2 vanished together: their routes stay until \d{4}-.*Z, or until half of them are back \(cluster.removalGraceSeconds 300\)$/,
    );
    await rests();
    await has("10.244.3.0/24");
    expect(kernel.fdb(vxlanDevice)).toHaveLength(2);
    source.setNodes(nodeA, nodeB);
    await has("10.244.2.0/24");
    // As many as half of those that were there: whoever writes the cluster is at work again.
    await lacks("10.244.3.0/24");
    expect((await reaches(({ problems }) => problems.length === 0)).isProgrammed).toBe(true);
    expect(kernel.fdb(vxlanDevice)).toEqual([]);
  });

  test("puts back what is altered while a removal is held, and removes after the grace", async () => {
    const yaml = "cluster: { removalGraceSeconds: 1 }";
    const { source, has, reaches, programmed, kernel, lacks } = scene(yaml);
    source.setNodes(nodeA, nodeC, nodeD);
    await programmed();
    source.setNodes(nodeA);
    await reaches(({ problems }) => problems.length > 0);
    const own = kernel
      .routes({ protocol: 76 })
      .find(({ destination }) => destination === "10.244.1.0/24");
    kernel.apply([{ kind: "remove-route", route: own! }]);
    await has("10.244.1.0/24");
    await has("10.244.3.0/24");
    await lacks("10.244.3.0/24");
    await lacks("10.244.4.0/24");
    await reaches(({ problems }) => problems.length === 0);
  });

  test("holds a removal also where a start finds most nodes gone", async () => {
    const { source, kernel, programmed, has, reaches } = scene();
    kernel.apply(diffNode(overlay({ peers: [nodeC, nodeD] }).node, observeNode(kernel), sure));
    source.setNodes(nodeA);
    await programmed();
    await reaches(({ problems }) => problems.length > 0);
    await has("10.244.3.0/24");
  });

  test("takes blocks that a start finds gone for blocks, not for nodes", async () => {
    const { source, kernel, programmed, has, lacks } = scene();
    const blocks = ["10.244.3.0/26", "10.244.3.64/26", "10.244.3.128/26", "10.244.3.192/26"];
    const before = [nodeB, { ...nodeC, podCidrs: blocks.map(cidr) }];
    kernel.apply(diffNode(overlay({ peers: before }).node, observeNode(kernel), sure));
    source.setNodes(nodeA, nodeB, { ...nodeC, podCidrs: [cidr("10.244.3.0/26")] });
    expect((await programmed()).problems).toEqual([]);
    await has("10.244.3.0/26");
    await lacks("10.244.3.64/26");
  });
});
