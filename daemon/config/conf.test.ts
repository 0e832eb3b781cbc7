// The files in conf/ and the examples in the READMEs, read by the code that reads them on a node.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { settleMembership } from "../../core/cluster/membership.ts";
import { parseYaml } from "../files/yaml-file.ts";
import { formatConflist } from "../node/conflist.ts";
import { ManifestSet } from "../source/manifest-set.ts";
import { parseManifest } from "../source/manifest.ts";
import { parseConfig } from "./config.ts";

const root = join(import.meta.dirname, "../..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const parse = (text: string) => parseConfig(text, "conf", { nodeName: "node-a" });

test("fairlead.yaml has every key with its default", () => {
  expect(parse(read("conf/fairlead.yaml"))).toEqual(parse(""));
  const withName = read("conf/fairlead.yaml").replace("# nodeName", "nodeName");
  expect(parse(withName).nodeName).toBe("node-a");
  const keysOf = (value: unknown): string[] =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.entries(value).flatMap(([key, inner]) => [key, ...keysOf(inner)])
      : [];
  const keys = keysOf(parseYaml(withName).documents[0]?.value);
  for (const key of [
    "openFirewall",
    "nodePrefixLength",
    "except",
    "upstreams",
    "level",
    "confDir",
  ]) {
    expect(keys).toContain(key);
  }
});

test("10-fairlead.conflist is what the daemon writes", () => {
  expect(read("conf/10-fairlead.conflist")).toBe(formatConflist("fairlead"));
});

describe("the demo's cluster", () => {
  const files = readdirSync(join(root, "conf/demo")).map((name) => `conf/demo/${name}`);
  const set = new ManifestSet();
  for (const file of files) set.set(file, parseManifest(read(file)));

  test("is read without a complaint, and is of one piece", () => {
    expect(set.settle()).toEqual({ problems: [], hasChanged: true });
    const snapshot = set.snapshot(1, true);
    expect([...snapshot.nodes.keys()]).toEqual(["node-a", "node-b", "node-c"]);
    const { podCidrs } = parse("").network;
    expect(settleMembership(snapshot.nodes.values(), podCidrs).problems).toEqual([]);
    for (const { namespace, serviceName, endpoints } of snapshot.endpointSlices.values()) {
      expect(snapshot.services.has(`${namespace}/${serviceName}`)).toBe(true);
      expect(snapshot.namespaces.has(namespace)).toBe(true);
      expect(endpoints.every(({ nodeName = "" }) => snapshot.nodes.has(nodeName))).toBe(true);
    }
  });

  test("has the DNS service on the address that nodes answer on", () => {
    const { clusterIps } = set.snapshot(1, true).services.get("kube-system/kube-dns")!;
    expect(clusterIps).toEqual(parse("").dns.addresses);
  });
});

test("the systemd unit starts the daemon, and is made of known sections", () => {
  const lines = read("conf/fairlead.service").split("\n");
  expect(lines.filter((line) => line.startsWith("["))).toEqual([
    "[Unit]",
    "[Service]",
    "[Install]",
  ]);
  expect(lines).toContain("ExecStart=/usr/bin/fairlead daemon");
  const isKnownForm = (line: string): boolean => /^($|#|\[\w+\]$|[A-Z]\w*=.+)/.test(line);
  expect(lines.filter((line) => !isKnownForm(line))).toEqual([]);
});

describe("the examples", () => {
  const examples = ["conf/README.md", "daemon/README.md"].flatMap((file) =>
    [...read(file).matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text = ""], i) => ({
      name: `${file} ${i + 1}`,
      text,
    })),
  );
  test("are there", () => expect(examples.length).toBeGreaterThan(2));
  test.each(examples)("$name is right", ({ text }) => {
    if (text.startsWith("apiVersion")) expect(parseManifest(text).kind).toBe("valid");
    else expect(() => parse(text)).not.toThrow();
  });
});
