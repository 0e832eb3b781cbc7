// Three nodes (three-nodes.ts) whose kernels, as all others on the way, take a packet only from where they
// would send its answer, on every device: rp_filter 1.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TestNamespace } from "../support/netns.ts";
import { nodeNames, outsideAddress, ping, type RunningNode, ThreeNodes } from "./three-nodes.ts";

describe("under strict reverse path filters everywhere", () => {
  let lab: ThreeNodes;
  let near: TestNamespace;
  let running: RunningNode;

  beforeAll(async () => {
    lab = new ThreeNodes();
    for (const namespace of [lab.router, lab.outside, ...Object.values(lab.nodes)]) {
      for (const scope of ["all", "default"]) {
        namespace.run("sysctl", "-qw", `net.ipv4.conf.${scope}.rp_filter=1`);
      }
    }
    running = (await lab.startAll())["node-a"];
    near = lab.addPod("node-a", "10.244.1.2");
    lab.addPod("node-b", "10.244.2.2");
    lab.addPod("node-c", "10.244.3.2");
  });
  afterAll(() => lab[Symbol.asyncDispose]());

  test("the filter counts on every device, and status says so", async () => {
    for (const name of nodeNames) {
      const all = lab.nodes[name].run("sysctl", "-n", "net.ipv4.conf.all.rp_filter");
      expect(all.trim()).toBe("1");
    }
    const { problems } = await running.programmed();
    expect(problems.map(({ message }) => message).join()).toContain("rp_filter is 1 (strict)");
  });

  // Through the tunnel, and on the link.
  test.each([
    ["node-a", "10.244.3.2"],
    ["node-a", "10.244.2.2"],
    ["node-c", "10.244.1.2"],
    ["node-b", "10.244.1.2"],
  ] as const)("%s reaches the remote pod %s, and has its answers", (name, pod) => {
    expect(ping(lab.nodes[name], pod)).toContain("1 received");
  });

  test.each(["172.30.2.13", "172.30.1.12", "172.30.1.11"])(
    "a pod reaches the node's address %s, and has its answers",
    (address) => {
      expect(ping(near, address)).toContain("1 received");
    },
  );

  test.each(["10.244.3.2", "10.244.2.2"])("a pod reaches the remote pod %s", (pod) => {
    expect(ping(near, pod)).toContain("1 received");
  });

  test("a pod reaches the outside", () => {
    expect(ping(near, outsideAddress)).toContain("1 received");
  });

  test("what comes from where its answer would not go is dropped", () => {
    near.run("ip", "address", "add", "10.244.3.77/32", "dev", "lo");
    expect(() => near.run("ping", "-c1", "-W1", "-I", "10.244.3.77", "10.244.2.2")).toThrow(
      "Command failed",
    );
  });
});
