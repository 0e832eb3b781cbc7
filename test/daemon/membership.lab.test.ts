// What becomes of traffic when nodes and their underlay change: over an IPv4 and an IPv6 underlay and over
// both, pods having both families. See routed-nodes.ts for the drawing.
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { type Families, podCidrs, RoutedNodes, underlayAddress } from "./routed-nodes.ts";

const waiting = { timeout: 20_000, interval: 20 };

/** Nodes that reach each other, each with a pod. */
async function open(families: Families, backend = "auto"): Promise<RoutedNodes> {
  const lab = new RoutedNodes(families, backend);
  onTestFinished(() => lab[Symbol.dispose]());
  lab.write(lab.manifest(1), lab.manifest(2), lab.manifest(3));
  for (const n of [1, 2, 3]) {
    lab.addPod(n);
    lab.start(n);
  }
  await lab.allReach();
  return lab;
}

describe.each<[string, Families]>([
  ["IPv4", [4]],
  ["IPv6", [6]],
  ["both families", [4, 6]],
])("over an underlay of %s", (_, families) => {
  // A family of pods that the underlay lacks needs the tunnel also on the link.
  const onLink = families.length === 2 ? "direct" : "vxlan";

  test("auto goes to a node on the link as it is, to others by the tunnel, and decides anew", async () => {
    const lab = await open(families);
    expect(lab.paths(1)).toEqual({ "node-2": onLink, "node-3": "vxlan" });
    // Routes of the family that the underlay has lead to the node on the link itself.
    const [family] = families;
    const block = podCidrs(2)[family === 4 ? 0 : 1]!;
    const route = (): string => lab.nodes[0]!.run("ip", `-${family}`, "route", "show", block);
    expect(route()).toContain(`via ${underlayAddress(family!, 1, 12)} dev eth0`);
    // Its own network shrinks: nobody is on the link any more, though no manifest says so.
    const node = lab.nodes[0]!;
    for (const each of families) {
      const [host, router] = [underlayAddress(each, 1, 11), underlayAddress(each, 1, 1)];
      const [length, narrow] = each === 4 ? [24, 32] : [64, 128];
      const noDad = each === 6 ? "nodad" : "";
      node.run(
        "sh",
        "-c",
        `ip address add ${host}/${narrow} dev eth0 ${noDad} 2>/dev/null || true
        ip address del ${host}/${length} dev eth0; ip address replace ${host}/${narrow} dev eth0 ${noDad}
        ip route replace ${router} dev eth0; ip -${each} route replace default via ${router} dev eth0`,
      );
    }
    await vi.waitFor(() => expect(route()).toContain("dev fl-vxlan"), waiting);
    expect(lab.paths(1)).toEqual({ "node-2": "vxlan", "node-3": "vxlan" });
    await lab.allReach();
    lab.place(1, 1, 11);
    await vi.waitFor(() => expect(route()).toContain("dev eth0"), waiting);
    await lab.allReach();
  });

  test("a node that moves to the link, and away again, is reached by the other way", async () => {
    const lab = await open(families);
    const { router } = lab;
    const moved = families.map((family) => underlayAddress(family, 1, 33));
    router.run("ip", "link", "set", "to-3", "master", "br0");
    lab.place(3, 1, 33);
    lab.write(lab.manifest(1), lab.manifest(2), lab.manifest(3, { addresses: moved }));
    await vi.waitFor(() => expect(lab.paths(1)["node-3"]).toBe(onLink), waiting);
    await lab.allReach();
    router.run("ip", "link", "set", "to-3", "nomaster");
    lab.place(3, 2, 13);
    lab.write(lab.manifest(1), lab.manifest(2), lab.manifest(3));
    await vi.waitFor(() => expect(lab.paths(1)["node-3"]).toBe("vxlan"), waiting);
    await lab.allReach();
  });

  test("two nodes swap their addresses in one step", async () => {
    const lab = await open(families);
    const [one, two] = [lab.manifest(1), lab.manifest(2)];
    lab.place(1, 1, 99);
    lab.place(2, 1, 11);
    lab.place(1, 1, 12);
    lab.write(
      { ...one, addresses: two.addresses },
      { ...two, addresses: one.addresses },
      lab.manifest(3),
    );
    await lab.allReach();
  });
});

describe("of nodes whose pods have both families", () => {
  const families: Families = [4, 6];

  test("two nodes swap their blocks in one step", async () => {
    const lab = await open(families, "vxlan");
    for (const n of [2, 3]) lab.removePods(n);
    lab.addPod(2, 3);
    lab.addPod(3, 2);
    lab.write(
      lab.manifest(1),
      lab.manifest(2, { podCidrs: podCidrs(3) }),
      lab.manifest(3, { podCidrs: podCidrs(2) }),
    );
    await lab.allReach();
  });

  test("a node is renamed, and keeps address and block", async () => {
    const lab = await open(families);
    lab.write(lab.manifest(1), lab.manifest(2), lab.manifest(3, { name: "third" }));
    lab.start(3, "third");
    await vi.waitFor(() => expect(Object.keys(lab.paths(1))).toEqual(["node-2", "third"]), waiting);
    await lab.allReach();
    const entries = lab.nodes[0]!.run("bridge", "fdb", "show", "dev", "fl-vxlan");
    const far = underlayAddress(families[0]!, 2, 13);
    expect(entries.split("\n").filter((line) => line.includes(`dst ${far} `))).toHaveLength(1);
  });

  test("pods lose a family and have it again", async () => {
    const lab = await open(families);
    const [ipv4] = podCidrs(3);
    lab.write(lab.manifest(1), lab.manifest(2), lab.manifest(3, { podCidrs: [ipv4!] }));
    const routes = (): string => lab.nodes[0]!.run("ip", "-6", "route");
    await vi.waitFor(() => expect(routes()).not.toContain("fd00:10:244:3::/64"), waiting);
    lab.write(lab.manifest(1), lab.manifest(2), lab.manifest(3));
    await vi.waitFor(() => expect(routes()).toContain("fd00:10:244:3::/64"), waiting);
    await lab.allReach();
  });

  test("a node has a block within another's, which is named, until it has one of its own", async () => {
    const lab = await open(families);
    const within = lab.manifest(3, { podCidrs: ["10.244.2.128/25", "fd00:10:244:3::/64"] });
    lab.write(lab.manifest(1), lab.manifest(2), within);
    await vi.waitFor(() => expect(lab.problems(1).join()).toContain("10.244.2.128/25"), waiting);
    expect(lab.nodes[0]!.run("ip", "route")).not.toContain("10.244.2.128");
    lab.write(lab.manifest(1), lab.manifest(2), lab.manifest(3));
    await lab.allReach();
  });
});
