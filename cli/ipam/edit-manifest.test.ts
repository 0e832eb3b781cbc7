import { describe, expect, test } from "vitest";
import { parseManifest } from "../../daemon/source/manifest.ts";
import { writePodCidrs as writeAll } from "./edit-manifest.ts";

const writePodCidrs = (text: string, name: string, podCidrs: readonly string[]): string =>
  writeAll(text, new Map([[name, podCidrs]]));

const node = (text: string): readonly string[] => {
  const manifest = parseManifest(text);
  if (manifest.kind === "invalid") throw new Error(JSON.stringify(manifest.problems));
  return manifest.objects.map(
    ({ key, value }) => `${key} ${value.kind === "Node" ? value.object.podCidrs.join(" ") : ""}`,
  );
};

const commented = `# The first rack.
apiVersion: v1
kind: Node
metadata:
    name: a   # by the door
    labels: {rack:  "1"}  # two spaces

# Where it is reached.
status:
    addresses:
    - {type: InternalIP, address: 192.0.2.1}
---
# A second one.
apiVersion: v1
kind: Node
metadata: { name: b }
spec:
  # Set by hand.
  unschedulable: true
`;

describe("writePodCidrs()", () => {
  test("adds a spec, and touches nothing else", () => {
    expect(writePodCidrs(commented, "a", ["10.244.0.0/24", "fd00::/64"])).toBe(
      commented.replace(
        "two spaces\n",
        'two spaces\nspec:\n  podCIDRs: [10.244.0.0/24, "fd00::/64"]\n',
      ),
    );
  });

  test("adds to a spec that is there", () =>
    expect(writePodCidrs(commented, "b", ["10.244.0.0/24"])).toBe(
      commented.replace("  unschedulable", "  podCIDRs: [10.244.0.0/24]\n  unschedulable"),
    ));

  test.each([
    [
      "a flow list",
      'podCIDRs: [ "10.244.0.0/24" ] # x',
      'podCIDRs: [ "10.244.0.0/24", "fd00::/64" ] # x',
    ],
    [
      "a block list",
      "podCIDRs: # x\n  - 10.244.0.0/24 # y\n  unschedulable: true",
      'podCIDRs: # x\n  - 10.244.0.0/24 # y\n  - "fd00::/64"\n  unschedulable: true',
    ],
    [
      "a single podCIDR",
      "podCIDR: 10.244.0.0/24",
      'podCIDRs: [10.244.0.0/24, "fd00::/64"]\n  podCIDR: 10.244.0.0/24',
    ],
  ])("extends %s", (_what, before, after) => {
    const manifest = (spec: string): string =>
      `apiVersion: v1\nkind: Node\nmetadata: {name: a}\nspec:\n  ${spec}\n`;
    const podCidrs = ["10.244.0.0/24", "fd00::/64"];
    expect(writePodCidrs(manifest(before), "a", podCidrs)).toBe(manifest(after));
  });

  test("writes several Nodes of a file", () =>
    expect(
      writeAll(
        commented,
        new Map([
          ["a", ["10.244.0.0/24"]],
          ["b", ["10.244.1.0/24"]],
        ]),
      ),
    ).toBe(
      commented
        .replace("two spaces\n", "two spaces\nspec:\n  podCIDRs: [10.244.0.0/24]\n")
        .replace("  unschedulable", "  podCIDRs: [10.244.1.0/24]\n  unschedulable"),
    ));

  test("finds a Node in a List", () => {
    const list = `apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Node
  metadata:
    name: a
- kind: Node
  apiVersion: v1
  metadata:
    name: b
`;
    expect(writePodCidrs(list, "a", ["10.244.0.0/24"])).toBe(
      list.replace("name: a\n", "name: a\n  spec:\n    podCIDRs: [10.244.0.0/24]\n"),
    );
    expect(writePodCidrs(list, "b", ["10.244.0.0/24"])).toBe(
      `${list}  spec:\n    podCIDRs: [10.244.0.0/24]\n`,
    );
  });

  test.each([
    ["an empty spec", "spec: {}\n"],
    ["a spec without a value", "spec:\nstatus: {}\n"],
    ["a spec in one line", "spec: { unschedulable: true } # x\n"],
    ["an empty list", "spec:\n  podCIDRs: []\n"],
    ["a list without a value", "spec:\n  podCIDRs:\n"],
    ["no newline at the end", "spec:\n  unschedulable: true"],
    ["carriage returns", "spec:\r\n  unschedulable: true\r\n"],
  ])("copes with %s", (_what, rest) => {
    const text = `# kept\napiVersion: v1\nkind: Node\nmetadata:\n  name: a # too\n${rest}`;
    const written = writePodCidrs(text, "a", ["10.244.0.0/24"]);
    expect(node(written)).toEqual(["Node a 10.244.0.0/24"]);
    expect(written).toContain("# kept");
    expect(written).toContain("# too");
  });

  test.each([
    ["indented", 2],
    ["indented by tabs", "\t"],
    ["in one line", undefined],
  ])("keeps JSON, %s", (_what, indent) => {
    const object = { apiVersion: "v1", kind: "Node", metadata: { name: "a" }, spec: {} };
    const written = writePodCidrs(`${JSON.stringify(object, null, indent)}\n`, "a", ["fd00::/64"]);
    expect(written).toBe(
      `${JSON.stringify({ ...object, spec: { podCIDRs: ["fd00::/64"] } }, null, indent)}\n`,
    );
  });

  test("leaves the other documents' meaning alone when it must write the file anew", () => {
    const text = `${commented}---\n---\napiVersion: v1\nkind: Node\nmetadata: {name: c}\nspec: {}\n`;
    const written = writePodCidrs(text, "c", ["10.244.0.0/24"]);
    expect(node(written)).toEqual(["Node a ", "Node b ", "Node c 10.244.0.0/24"]);
    expect(written).toContain("# Where it is reached.");
  });

  test("throws for a spec that is another place's too", () => {
    const text = "kind: Node\nmetadata: { name: a }\nx: &x { y: true }\nspec: *x\n";
    expect(() => writePodCidrs(text, "a", ["10.244.0.0/24"])).toThrow("an alias of another place");
  });

  test("throws for a Node that is not there", () =>
    expect(() => writePodCidrs(commented, "c", [])).toThrow("Cannot find Node c"));
});
