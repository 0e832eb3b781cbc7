import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { parseManifest } from "../../daemon/source/manifest.ts";
import { demoCluster, formatNodes, readCluster } from "./cluster.ts";

const demoDirectory = join(import.meta.dirname, "../../conf/demo");

test("demoCluster() is the demo's manifests, or the same with other nodes", () => {
  const three = demoCluster(demoDirectory, 3);
  expect(three.nodes.map(({ name }) => name)).toEqual(["node-a", "node-b", "node-c"]);
  const five = demoCluster(demoDirectory, 5);
  expect([...five.files.keys()]).toEqual([...three.files.keys()]);
  expect(
    five.nodes.map(({ name, addresses, podCidrs }) => [name, addresses[0], podCidrs[0]]),
  ).toEqual([
    ["node-a", "172.30.1.11", "10.244.1.0/24"],
    ["node-b", "172.30.1.12", "10.244.2.0/24"],
    ["node-c", "172.30.2.13", "10.244.3.0/24"],
    ["node-d", "172.30.1.14", "10.244.4.0/24"],
    ["node-e", "172.30.1.15", "10.244.5.0/24"],
  ]);
});

test("formatNodes(3) says what the demo's manifests say", () => {
  const generated = parseManifest(formatNodes(3));
  if (generated.kind !== "valid") throw new Error("invalid");
  expect(generated.objects.map(({ value }) => value.object)).toEqual(
    readCluster(demoDirectory).nodes,
  );
});

test("formatNodes() of the most nodes is valid and names each once", () => {
  const generated = parseManifest(formatNodes(100));
  if (generated.kind !== "valid") throw new Error(JSON.stringify(generated.problems[0]));
  const names = generated.objects.map(({ key }) => key.replace("Node ", ""));
  expect([new Set(names).size, names[25], names[26], names[99]]).toEqual([
    100,
    "node-z",
    "node-aa",
    "node-cv",
  ]);
});

test("readCluster() names the file and line of what is wrong, and leaves other files alone", () => {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-cluster-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  writeFileSync(join(directory, "README"), "not a manifest");
  writeFileSync(join(directory, ".x.yaml"), "{");
  expect(readCluster(directory)).toEqual({ files: new Map(), nodes: [] });
  expect(() => readCluster(join(directory, "none"))).toThrow(
    /none: Cannot read the directory of the manifests$/,
  );
  writeFileSync(join(directory, "n.yaml"), "apiVersion: v1\nkind: Node\nmetadata: {}\n");
  expect(() => readCluster(directory)).toThrow(/^n\.yaml:\d+: /);
});
