import {
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tryLock } from "../../kernel/flock.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { runCommandLine } from "../command-line.ts";
import { readNodes } from "./manifests.ts";

const node = (name: string, podCidrs = ""): string =>
  `apiVersion: v1\nkind: Node\nmetadata:\n  name: ${name} # mine\n${podCidrs === "" ? "" : `spec:\n  podCIDRs: [${podCidrs}]\n`}`;

interface Cluster {
  readonly directory: string;
  readonly assign: (...args: readonly string[]) => Promise<[number, string, string]>;
  readonly podCidrs: () => Record<string, string>;
}

function cluster(files: Readonly<Record<string, string>>, network = ""): Cluster {
  const top = temporaryDirectory();
  const directory = join(top, "cluster.d");
  mkdirSync(directory);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
  const config = join(top, "fairlead.yaml");
  writeFileSync(config, `network: { ${network} }\n`);
  return {
    directory,
    assign: async (...args) => {
      let [stdout, stderr] = ["", ""];
      const words = ["ipam", "assign", "--cluster", directory, "--config", config, ...args];
      const status = await runCommandLine(words, {
        stdout: (text) => void (stdout += text),
        stderr: (text) => void (stderr += text),
        environment: {},
        replaceProcess: () => {
          throw new Error("replaced");
        },
        signal: new AbortController().signal,
      });
      return [status, stdout.replaceAll(directory, "DIR"), stderr.replaceAll(directory, "DIR")];
    },
    podCidrs: () =>
      Object.fromEntries(
        readNodes(directory).map((manifest) => [
          manifest.node.name,
          manifest.node.podCidrs.join(" "),
        ]),
      ),
  };
}

test("fills what is missing, and changes nothing that is there", async () => {
  const { assign, podCidrs, directory } = cluster({
    "a.yaml": `${node("a")}---\n${node("b", "10.244.0.0/23")}---\n${node("c")}`,
    "d.yaml": node("d"),
  });
  expect(await assign()).toEqual([
    0,
    `NODE  ASSIGNED       FILE
a     10.244.2.0/24  DIR/a.yaml
c     10.244.3.0/24  DIR/a.yaml
d     10.244.4.0/24  DIR/d.yaml
`,
    "",
  ]);
  expect(podCidrs()).toEqual({
    a: "10.244.2.0/24",
    b: "10.244.0.0/23",
    c: "10.244.3.0/24",
    d: "10.244.4.0/24",
  });
  expect(readFileSync(join(directory, "d.yaml"), "utf8")).toBe(
    `${node("d")}spec:\n  podCIDRs: [10.244.4.0/24]\n`,
  );
  expect(await assign()).toEqual([0, "Every Node in DIR has its pod CIDRs\n", ""]);
  expect(readdirSync(directory)).toEqual(["a.yaml", "d.yaml"]);
});

test("gives a second family to Nodes that have the first", async () => {
  const { assign, podCidrs } = cluster(
    { "a.yaml": node("a", "10.244.7.0/24") },
    'podCIDRs: [10.244.0.0/16, "fd00::/48"]',
  );
  expect((await assign())[0]).toBe(0);
  expect(podCidrs()).toEqual({ a: "10.244.7.0/24 fd00::/64" });
});

test("gives more blocks on demand, and blocks of a pool", async () => {
  const { assign, podCidrs } = cluster(
    { "a.yaml": node("a", "10.244.0.0/24"), "b.yaml": node("b") },
    "pools: [{ name: db, cidrs: [10.250.0.0/16], nodePrefixLength: { ipv4: 26 } }]",
  );
  expect((await assign("--node", "a", "--count", "2"))[0]).toBe(0);
  expect((await assign("--pool", "db"))[0]).toBe(0);
  expect((await assign())[0]).toBe(0);
  expect(podCidrs()).toEqual({
    a: "10.244.0.0/24 10.244.1.0/24 10.244.2.0/24 10.250.0.0/26",
    b: "10.250.0.64/26 10.244.3.0/24",
  });
  expect((await assign("--pool", "blue"))[2]).toContain('"blue": expected default or db');
});

test("serves one Node, only says what it would do, and speaks JSON", async () => {
  const { assign, podCidrs } = cluster({ "a.yaml": node("a"), "b.yaml": node("b") });
  const [status, stdout] = await assign("--node", "b", "--dry-run", "--json");
  expect([status, JSON.parse(stdout)]).toEqual([
    0,
    { assigned: [{ node: "b", podCidrs: ["10.244.0.0/24"], file: "DIR/b.yaml" }], isDryRun: true },
  ]);
  expect(podCidrs()).toEqual({ a: "", b: "" });
  await assign("--node", "b");
  expect(podCidrs()).toEqual({ a: "", b: "10.244.0.0/24" });
});

test("adds a Node that the daemon takes", async () => {
  const { assign, directory } = cluster({ "a.yaml": node("a", "10.244.0.0/24") });
  const words = ["--add-node", "b", "--address", "192.0.2.2", "--address", "2001:db8::2"];
  expect((await assign(...words))[1]).toContain("b     10.244.1.0/24  DIR/b.yaml");
  expect(readNodes(directory).at(-1)?.node).toEqual({
    name: "b",
    addresses: ["192.0.2.2", "2001:db8::2"],
    podCidrs: ["10.244.1.0/24"],
  });
  expect(await assign(...words)).toEqual([
    1,
    "",
    "fairlead: Cannot add Node b: DIR/b.yaml has it\n",
  ]);
  expect((await assign("--add-node", "c", "--address", "192.0.2.2"))[2]).toContain(
    "Node b has that address",
  );
});

test("keeps links, and files' modes", async () => {
  const { assign, directory, podCidrs } = cluster({});
  const elsewhere = join(directory, "..", "real.yaml");
  writeFileSync(elsewhere, node("a"), { mode: 0o640 });
  symlinkSync(elsewhere, join(directory, "a.yaml"));
  expect((await assign())[0]).toBe(0);
  expect(podCidrs()).toEqual({ a: "10.244.0.0/24" });
  expect(statSync(elsewhere).mode & 0o777).toBe(0o640);
});

test.each([
  [
    "an exhausted cluster CIDR",
    { "a.yaml": `${node("a")}---\n${node("b")}---\n${node("c")}` },
    "No pod CIDR is left for a node: all 2 blocks of /24 in 10.244.0.0/23 are taken. Node c is left without",
  ],
  [
    "pod CIDRs that overlap",
    {
      "a.yaml": node("a", "10.244.0.0/23"),
      "b.yaml": `${node("b", "10.244.1.0/24")}---\n${node("c")}`,
    },
    "Cannot assign pod CIDRs while some overlap: 10.244.0.0/23 of Node a and 10.244.1.0/24 of Node b",
  ],
  [
    "a file that the daemon would refuse",
    { "a.yaml": node("a"), "b.yaml": node("B") },
    'DIR/b.yaml:4: Cannot use metadata.name "B"',
  ],
  [
    "a Node in two files",
    { "a.yaml": node("a"), "b.yaml": node("a") },
    "DIR/b.yaml: Cannot use Node a: it is also in DIR/a.yaml",
  ],
])("refuses %s, and writes nothing", async (_what, files, message) => {
  const { assign, directory } = cluster(files, "podCIDRs: [10.244.0.0/23]");
  const [status, stdout, stderr] = await assign();
  expect([status, stdout, stderr]).toEqual([1, "", expect.stringContaining(message)]);
  for (const [name, text] of Object.entries(files)) {
    expect(readFileSync(join(directory, name), "utf8")).toBe(text);
  }
});

test.each([
  [["--count", "0"], 'Cannot use --count "0": expected a whole number from 1 to 1024'],
  [["--address", "192.0.2.1"], "Cannot use --address without --add-node"],
  [["--add-node", "B", "--address", "192.0.2.1"], 'Cannot use --add-node "B"'],
  [["--add-node", "b"], "Cannot add a Node without --address"],
  [["--add-node", "b", "--address", "x"], 'Cannot use --address "x"'],
  [["--add-node", "b", "--node", "b"], "Cannot use --node and --add-node together"],
])("calls %j wrong use", async (args, message) => {
  const [status, , stderr] = await cluster({}).assign(...args);
  expect([status, stderr]).toEqual([2, expect.stringContaining(message)]);
});

test("names what it cannot find", async () => {
  const { assign, directory } = cluster({ "a.yaml": node("a") });
  expect((await assign("--node", "b"))[2]).toContain("Cannot find Node b in DIR");
  expect((await assign("--cluster", join(directory, "none")))[2]).toContain(
    "DIR/none: Cannot write into the directory of the manifests",
  );
});

test("waits for another assign, then says so", async () => {
  const { assign, directory } = cluster({ "a.yaml": node("a") });
  using held = tryLock(join(directory, ".fairlead-assign.lock"), "exclusive");
  expect(held).toBeDefined();
  expect((await assign())[2]).toContain("Cannot assign in DIR: another assign is at work there");
});

test("says how many of the blocks that were asked for there are", async () => {
  const { assign, podCidrs } = cluster(
    { "a.yaml": node("a", "10.244.0.0/24") },
    "podCIDRs: [10.244.0.0/22]",
  );
  expect(await assign("--node", "a", "--count", "4")).toEqual([
    1,
    "",
    expect.stringContaining("Node a gets none: 3 of 4 are free for it"),
  ]);
  expect(podCidrs()).toEqual({ a: "10.244.0.0/24" });
});

test.each([
  ["0.0.0.0", "expected an IPv4 or IPv6 address of one machine"],
  ["127.0.0.1", "expected an IPv4 or IPv6 address of one machine"],
  ["224.0.0.1", "expected an IPv4 or IPv6 address of one machine"],
  ["255.255.255.255", "expected an IPv4 or IPv6 address of one machine"],
  ["::1", "expected an IPv4 or IPv6 address of one machine"],
  ["nonsense", "expected an IPv4 or IPv6 address of one machine"],
  ["fe80::1", "expected an address outside fe80::/10, which is link-local"],
  ["10.244.9.9", "it is in 10.244.0.0/16, of which pods and services have their addresses"],
  ["10.96.0.7", "it is in 10.96.0.0/12, of which pods and services have their addresses"],
  ["169.254.7.53", "it is one of dns.addresses"],
])("adds no Node with address %s", async (address, why) => {
  const files = { "a.yaml": node("a", "10.244.0.0/24") };
  const { assign, directory } = cluster(
    files,
    "podCIDRs: [10.244.0.0/16], serviceCIDRs: [10.96.0.0/12] }\ndns: { addresses: [169.254.7.53]",
  );
  expect(await assign("--add-node", "b", "--address", address)).toEqual([
    2,
    "",
    expect.stringContaining(`Cannot use --address "${address}": ${why}`),
  ]);
  expect(readdirSync(directory)).toEqual(["a.yaml"]);
});
