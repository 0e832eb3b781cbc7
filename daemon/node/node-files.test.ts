import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { Node } from "../../core/cluster/model.ts";
import { unplannedPeer } from "../../core/desired/overlay.ts";
import type { NodePlan } from "../../core/desired/plan.ts";
import { silentLog } from "../../core/log.ts";
import { formatNodeFacts, type NodeFacts, parseNodeFacts } from "../../core/node-facts.ts";
import { paths } from "../../core/paths.ts";
import { RepairLedger } from "../../core/repair-ledger.ts";
import { systemClock } from "../../kernel/clock.ts";
import { aNode, aSnapshot, cidr, ip } from "../../test/support/builders.ts";
import { underlayOfA, overlay, nodeA, nodeB } from "../../test/support/overlay.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { parseConfig } from "../config/config.ts";
import { formatConflist } from "./conflist.ts";
import { nodeFactsOf, withoutLostBlocks } from "./node-facts.ts";
import { NodeFiles } from "./node-files.ts";

const factsOf = (yaml: string, snapshot = aSnapshot()): NodeFacts => {
  const { node, mtu } = overlay();
  const local = {
    node: nodeA,
    underlay: underlayOfA,
    mtu,
    table: { name: "x", sets: [], maps: [], chains: [] },
  };
  const config = parseConfig(yaml, "test", { nodeName: "node-a" });
  return nodeFactsOf(config, local, { desired: node, snapshot }, "boot");
};
const facts = factsOf("");

describe("nodeFactsOf()", () => {
  test("tells which pods get addresses of which pool, the namespace's annotation before the list", () => {
    const pod = { namespace: "demo", ips: [], isHostNetwork: false };
    const snapshot = aSnapshot({
      namespaces: [{ name: "shop", pool: "edge" }, { name: "demo" }, { name: "lab", pool: "db" }],
      pods: [
        { ...pod, name: "plain" },
        { ...pod, name: "unscheduled", pool: "db" },
        { ...pod, name: "here", pool: "edge", nodeName: "node-a" },
        { ...pod, name: "elsewhere", pool: "edge", nodeName: "node-b" },
      ],
    });
    const yaml = `network:
  pools:
    - { name: db, cidrs: [10.250.0.0/16], namespaces: [shop, data] }
    - { name: edge, cidrs: [10.251.0.0/16] }
  ipam: { reserved: [10.244.1.9] }`;
    const told = factsOf(yaml, snapshot);
    expect(told).toMatchObject({
      pools: [
        { name: "db", cidrs: ["10.250.0.0/16"] },
        { name: "edge", cidrs: ["10.251.0.0/16"] },
      ],
      namespacePools: { shop: "edge", data: "db", lab: "db" },
      podPools: { "demo/unscheduled": "db", "demo/here": "edge" },
      reserved: [{ first: "10.244.1.9", last: "10.244.1.9" }],
    });
    expect(parseNodeFacts(formatNodeFacts(told), "test")).toEqual(told);
  });

  test("tells what the plugin needs, in the form it reads", () => {
    expect(facts).toEqual({
      version: 1,
      nodeName: "node-a",
      network: "fairlead",
      podCidrs: [cidr("10.244.1.0/24")],
      clusterCidrs: [cidr("10.244.0.0/16")],
      serviceCidrs: [cidr("10.96.0.0/16")],
      quarantineSeconds: 60,
      nodeAddresses: [ip("172.30.1.11")],
      mtu: 1450,
      overlayDevice: "fl-vxlan",
      dns: {
        nameservers: [ip("10.96.0.10")],
        domain: "cluster.local",
        search: ["svc.cluster.local", "cluster.local"],
        options: ["ndots:5"],
      },
      bootId: "boot",
    });
    expect(parseNodeFacts(formatNodeFacts(facts), "node.json")).toEqual(facts);
  });

  test("gives pods no resolver when the node answers no queries", () => {
    expect(factsOf("dns: { enabled: false }").dns).toMatchObject({ nameservers: [], search: [] });
  });
});

describe("withoutLostBlocks()", () => {
  const plan = (others: readonly Node[], isBlockless?: true): NodePlan => ({
    own: { addresses: [], neighbors: [], fdb: [], routes: [] },
    mark: {},
    peers: new Map(others.map((node) => [node.name, unplannedPeer(node)])),
    problems: [],
    ...(isBlockless && { isBlockless }),
  });
  const two = { ...facts, podCidrs: [cidr("10.244.1.0/24"), cidr("10.244.9.0/24")] };
  const left = (given: NodePlan) => withoutLostBlocks(two, given).podCidrs;

  test("takes all of a node that the cluster has no block for", () => {
    expect(left(plan([nodeB], true))).toEqual([]);
  });

  test("takes those that another node has, and none of a node that is only missing", () => {
    expect(left(plan([aNode("node-x", "172.30.1.19", "10.244.9.128/25")]))).toEqual([
      "10.244.1.0/24",
    ]);
    expect(withoutLostBlocks(two, plan([nodeB]))).toBe(two);
    expect(withoutLostBlocks(two, plan([]))).toBe(two);
  });
});

describe("NodeFiles", () => {
  function open() {
    const directory = temporaryDirectory();
    const nodeFacts = join(directory, "run", "node.json");
    const confDir = join(directory, "net.d");
    const conflist = join(confDir, paths.conflist);
    const ledger = new RepairLedger();
    const files = new NodeFiles({
      paths: { ...paths, nodeFacts },
      confDir,
      ledger,
      clock: systemClock,
      log: silentLog,
      timing: { quietMs: 1, atMostMs: 5, everyMs: 60_000 },
    });
    onTestFinished(() => files[Symbol.dispose]());
    const isThere = (path: string, text: string) =>
      vi.waitFor(() => expect(existsSync(path) && readFileSync(path, "utf8")).toBe(text), {
        timeout: 30_000,
        interval: 2,
      });
    return { files, ledger, nodeFacts, confDir, conflist, isThere };
  }

  test("writes nothing before the node is ready, then both", () => {
    const { files, nodeFacts, conflist } = open();
    expect([files.isPublished, existsSync(conflist)]).toEqual([false, false]);
    files.publish(facts);
    expect(readFileSync(nodeFacts, "utf8")).toBe(formatNodeFacts(facts));
    expect(readFileSync(conflist, "utf8")).toBe(formatConflist("fairlead"));
    expect([files.isPublished, files.problems, files.repairs]).toEqual([true, [], 0]);
  });

  test("puts back what is removed or altered, and counts it", async () => {
    const { files, ledger, nodeFacts, conflist, isThere } = open();
    files.publish(facts);
    rmSync(conflist);
    await isThere(conflist, formatConflist("fairlead"));
    writeFileSync(nodeFacts, "{}");
    await isThere(nodeFacts, formatNodeFacts(facts));
    expect(files.repairs).toBe(2);
    expect(ledger.entries()).toMatchObject([
      { kind: "file", found: "nothing", done: `write ${conflist}` },
      { kind: "file", found: "a file of 2 octets", done: `write ${nodeFacts}` },
    ]);
  });

  test("comes back when the whole directory was removed", async () => {
    const { files, conflist, confDir, isThere } = open();
    files.publish(facts);
    rmSync(confDir, { recursive: true });
    await isThere(conflist, formatConflist("fairlead"));
    rmSync(conflist);
    await isThere(conflist, formatConflist("fairlead"));
  });

  test("leaves an operator's file alone, and says so", () => {
    const { files, conflist, confDir } = open();
    mkdirSync(confDir, { recursive: true });
    writeFileSync(conflist, "{}");
    files.publish(facts);
    expect(readFileSync(conflist, "utf8")).toBe("{}");
    expect(files.isPublished).toBe(true);
    expect(files.problems[0]?.message).toBe(
      `Left ${conflist} alone: it lacks "managedBy": "fairlead", so it is not fairlead's`,
    );
  });

  test("puts its conflist back when somebody tore it", async () => {
    const { files, conflist, isThere } = open();
    files.publish(facts);
    writeFileSync(conflist, "{");
    await isThere(conflist, formatConflist("fairlead"));
    expect([files.isPublished, files.problems]).toEqual([true, []]);
  });

  test("leaves a file that is no JSON alone, is not ready, and recovers when it goes", async () => {
    const { files, conflist, confDir, isThere } = open();
    mkdirSync(confDir, { recursive: true });
    writeFileSync(conflist, "{");
    files.publish(facts);
    expect(readFileSync(conflist, "utf8")).toBe("{");
    expect(files.isPublished).toBe(false);
    expect(files.problems[0]?.message).toBe(
      `Left ${conflist} alone: it is not JSON, so no runtime can attach pods by it; correct it, or remove it for fairlead to write its own`,
    );
    rmSync(conflist);
    await isThere(conflist, formatConflist("fairlead"));
    expect([files.isPublished, files.problems]).toEqual([true, []]);
  });

  test("names a file that cannot be written", () => {
    const { files, confDir } = open();
    writeFileSync(confDir, "a file in the place of the directory");
    files.publish(facts);
    expect(files.isPublished).toBe(false);
    expect(files.problems[0]?.message).toContain("Cannot write a file: EEXIST");
  });

  test("follows the facts", () => {
    const { files, nodeFacts } = open();
    files.publish(facts);
    files.publish({ ...facts, mtu: 1400 });
    expect(parseNodeFacts(readFileSync(nodeFacts, "utf8"), nodeFacts).mtu).toBe(1400);
  });
});
