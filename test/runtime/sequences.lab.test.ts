// The calls that runtimes make which are not driven here themselves, in their order and with their
// peculiarities. Each sequence ends with nothing left.
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { memberOf } from "../../cli/lab/directory.ts";
import { execute } from "../../cli/lab/execute.ts";
import { enter, type Member } from "../../cli/lab/member.ts";
import { linesLeft, observeNode, remainsDeadlineMs } from "../../scripts/demo/remains.ts";
import { version } from "../../core/version.ts";
import { type TestLab, testLab } from "../support/lab.ts";
import { type Call, type Caller, cnitoolId, createCaller } from "./caller.ts";

const signal = new AbortController().signal;

let lab: TestLab;
let node: Member;
let before: readonly string[] = [];
const observe = (): Promise<readonly string[]> => observeNode(node, signal);

beforeAll(async () => {
  lab = await testLab();
  const up = lab.run("up", "--nodes", "1");
  if (up.status !== 0) throw new Error(`No lab: ${up.stderr}`);
  node = memberOf(lab.directory, "node-a");
});
afterAll(() => void lab.run("down"));

beforeEach(async () => {
  before = await observe();
});
afterEach(async () => {
  const left = await linesLeft(before, observe, { deadlineMs: remainsDeadlineMs, signal });
  if (left.length > 0) throw new Error(`Left behind:\n${left.join("\n")}`);
});

interface AddResult {
  readonly interfaces: readonly { readonly name: string; readonly sandbox?: string }[];
  readonly ips: readonly { readonly address: string; readonly interface: number }[];
}

const add = async (runtime: Caller, call: Call): Promise<AddResult> =>
  (await runtime.must("ADD", call)) as AddResult;

/** Whether the sandbox reaches its node by way of the interface. */
const reachesNode = async ({ node: member }: Caller, netns: string): Promise<boolean> => {
  const ping = ["nsenter", `--net=${netns}`, "ping", "-q", "-c", "1", "-W", "1", "172.30.1.11"];
  try {
    await execute([...enter(member), ...ping], { signal });
    return true;
  } catch {
    return false;
  }
};

async function cnitool(runtime: Caller): Promise<void> {
  const netns = await runtime.createSandbox("cnitool");
  const of = { containerId: cnitoolId(netns), netns, ifName: "eth0" };
  // CAP_ARGS, as JSON.
  const capabilityArgs = {
    ips: ["10.244.1.99/24"],
    mac: "02:00:5e:10:00:01",
    portMappings: [{ hostPort: 20080, containerPort: 8080, protocol: "tcp" }],
    bandwidth: { ingressRate: 8_000_000, ingressBurst: 80_000 },
  };
  if (runtime.list.cniVersion === "1.1.0") await runtime.must("STATUS");
  const prevResult = await add(runtime, { ...of, capabilityArgs });
  expect(prevResult.ips[0]?.address).toBe("10.244.1.99/32");
  await runtime.must("CHECK", { ...of, capabilityArgs, prevResult });
  expect(await reachesNode(runtime, netns)).toBe(true);
  // `cnitool gc`: a list without any key, which says nothing of what is valid.
  if (runtime.list.cniVersion === "1.1.0") {
    await runtime.must("GC");
    await runtime.must("CHECK", { ...of, capabilityArgs, prevResult });
  }
  await runtime.must("DEL", { ...of, capabilityArgs, prevResult });
  expect(await runtime.call("CHECK", { ...of, prevResult })).toMatchObject({ status: 1 });
  await runtime.removeSandbox(netns);
}

async function nomad(runtime: Caller): Promise<void> {
  // The agent runs every plugin without a command, and takes the first word that is a version for it.
  const words = (await runtime.probe()).split(/\s+/);
  expect(words.find((word) => /^v?\d+\.\d+\.\d+/.test(word))).toBe(version);
  const netns = await runtime.createSandbox("alloc");
  const of = { containerId: "36e3e6ad-8d51-a1ad-4a8b-5a4d1a1d9a1f", netns, ifName: "eth0" };
  const args = 'IgnoreUnknown=true;NOMAD_REGION=global;CONSUL_IPTABLES_CONFIG={"a":"b=c"}';
  // In go-cni's spelling, and every port for both protocols.
  const port = { HostPort: 20080, ContainerPort: 8080, HostIP: "" };
  const capabilityArgs = {
    portMappings: [
      { ...port, Protocol: "tcp" },
      { ...port, Protocol: "udp" },
    ],
  };
  // A repeated ADD meets what the first one made.
  const first = await add(runtime, { ...of, args, capabilityArgs });
  const second = await add(runtime, { ...of, args, capabilityArgs });
  expect(second).toEqual(first);
  // The agent starts again, finds the sandbox gone and makes another one for the same container.
  await runtime.removeSandbox(netns);
  const renewed = await runtime.createSandbox("alloc");
  expect(await runtime.call("CHECK", { ...of, args, prevResult: first })).toMatchObject({
    status: 1,
  });
  const third = await add(runtime, { ...of, args, capabilityArgs });
  expect(third.ips).toEqual(first.ips);
  expect(await reachesNode(runtime, renewed)).toBe(true);
  await runtime.must("DEL", { ...of, capabilityArgs, prevResult: third });
  await runtime.removeSandbox(renewed);
}

async function nerdctl(runtime: Caller): Promise<void> {
  const netns = await runtime.createSandbox("nerdctl");
  const of = { containerId: "4f2c".repeat(16), netns, ifName: "eth0", args: "IgnoreUnknown=1" };
  const gone = { ...of, netns: "" };
  for (const _ of ["run", "start"]) {
    await runtime.must("DEL", gone);
    await add(runtime, of);
    expect(await reachesNode(runtime, netns)).toBe(true);
  }
  // At the end too, while the container still has its sandbox: that loses its network.
  await runtime.must("DEL", gone);
  expect(await reachesNode(runtime, netns)).toBe(false);
  await runtime.must("DEL", gone);
  await runtime.removeSandbox(netns);
}

async function crio(runtime: Caller): Promise<void> {
  const spoken = (await runtime.must("VERSION")) as { supportedVersions: string[] };
  expect(spoken.supportedVersions).toContain(runtime.list.cniVersion);
  const podOf = async (
    name: string,
  ): Promise<Required<Pick<Call, "containerId" | "netns">> & Call> => {
    const netns = await runtime.createSandbox(name);
    const args = `IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME=${name};K8S_POD_UID=1`;
    return { containerId: `infra-of-${name}`, netns, ifName: "eth0", args };
  };
  const [kept, lost] = [await podOf("kept"), await podOf("lost")];
  const prevResult = await add(runtime, kept);
  await runtime.must("CHECK", { ...kept, prevResult });
  const lostResult = await add(runtime, lost);
  await runtime.must("CHECK", { ...lost, prevResult: lostResult });
  // CRI-O gives a DEL up that failed, and at its next start GC makes up for it.
  if (runtime.list.cniVersion === "1.1.0") {
    const valid = [{ containerID: kept.containerId, ifname: "eth0" }];
    await runtime.must("GC", {
      keys: { "cni.dev/valid-attachments": valid, "cni.dev/attachments": valid },
    });
    expect(await reachesNode(runtime, lost.netns)).toBe(false);
  } else {
    await runtime.must("DEL", { ...lost, prevResult: lostResult });
  }
  await runtime.must("CHECK", { ...kept, prevResult });
  expect(await reachesNode(runtime, kept.netns)).toBe(true);
  await runtime.removeSandbox(kept.netns);
  await runtime.must("DEL", { ...kept, prevResult });
  await runtime.removeSandbox(lost.netns);
}

async function multus(runtime: Caller): Promise<void> {
  const netns = await runtime.createSandbox("multus");
  const of = { containerId: "a1".repeat(32), netns, args: "IgnoreUnknown=true;K8S_POD_NAME=two" };
  const results = [];
  for (const ifName of ["eth0", "net1"]) {
    results.push(await add(runtime, { ...of, ifName }));
  }
  const [eth0, net1] = results.map(({ ips }) => ips[0]?.address);
  expect(eth0).not.toBe(net1);
  await runtime.must("DEL", { ...of, ifName: "net1", prevResult: results[1] });
  await runtime.must("CHECK", { ...of, ifName: "eth0", prevResult: results[0] });
  expect(await reachesNode(runtime, netns)).toBe(true);
  // Its delegates are called in any order, with the configuration of its own cache.
  await runtime.must("DEL", { ...of, ifName: "eth0", netns: "" });
  await runtime.removeSandbox(netns);
}

const sequences = [
  ["cnitool", cnitool],
  ["nomad", nomad],
  ["nerdctl", nerdctl],
  ["CRI-O", crio],
  ["multus", multus],
] as const;

test.each(
  sequences.flatMap(([name, sequence]) =>
    (["1.0.0", "1.1.0"] as const).map((newest) => [name, newest, sequence] as const),
  ),
)("what %s calls, with a libcni of %s", async (_, newest, sequence) => {
  await sequence(createCaller(node, newest));
});
