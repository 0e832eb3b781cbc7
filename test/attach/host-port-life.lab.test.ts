// How hostPorts come, go and are put back, with real traffic.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CniCode } from "../../core/cni/error.ts";
import { hostPortTable, withHostPorts } from "../../core/desired/host-ports.ts";
import { ipToBytes } from "../../core/address.ts";
import { systemCalls } from "../../kernel/ffi.ts";
import { openNamespace, runInNamespace } from "../../kernel/netns.ts";
import { ip, mac } from "../support/builders.ts";
import { type TestNamespace, createNamespace } from "../support/netns.ts";
import { aNetworkRequest, aRequest, dualStackFacts, forever } from "./fixture.ts";
import { type HostPortNode, type Pod, ask, createHostPortNode, mapping } from "./host-port-node.ts";

let node: HostPortNode;
let host: TestNamespace;
let outside: TestNamespace;
beforeEach(() => {
  node = createHostPortNode();
  ({ host, outside } = node);
});
afterEach(() => node[Symbol.asyncDispose]());

const elements = (): readonly string[] =>
  Array.from(node.kernel.observeNft("fairlead")?.maps.values() ?? []).flat();
const checked = ({ request, result }: Pod) => ({
  ...request,
  conf: { ...request.conf, prevResult: result },
});

test("portmap-21: one address's port is there alone, and goes before that of all addresses", async () => {
  await using _one = await node.startPod("one", [80], [mapping("tcp", 8080, 80, "192.0.2.2")]);
  expect(ask(outside, "tcp", "192.0.2.2", 8080)).toMatch(/^one /);
  expect(ask(host, "tcp", "192.0.2.2", 8080)).toMatch(/^one /);
  expect(ask(outside, "tcp", "192.0.2.1", 8080)).toBe("");
  expect(ask(outside, "tcp", "2001:db8::1", 8080)).toBe("");
  await using _two = await node.startPod("two", [80], [mapping("tcp", 8080, 80)]);
  expect(ask(outside, "tcp", "192.0.2.1", 8080)).toMatch(/^two /);
  expect(ask(outside, "tcp", "192.0.2.2", 8080)).toMatch(/^one /);
});

test("portmap-23: of a port for one IPv6 address, or for all of a family, the other family has nothing", async () => {
  const ports = [mapping("tcp", 8080, 80, "2001:db8::1"), mapping("udp", 53, 80, "::")];
  await using _ = await node.startPod("one", [80], [...ports, mapping("tcp", 81, 80, "0.0.0.0")]);
  expect(ask(outside, "tcp", "2001:db8::1", 8080)).toMatch(/^one /);
  expect(ask(outside, "tcp", "192.0.2.1", 8080)).toBe("");
  expect(ask(outside, "udp", "2001:db8::1", 53)).toMatch(/^one /);
  expect(ask(outside, "udp", "192.0.2.1", 53)).toBe("");
  expect(ask(outside, "tcp", "192.0.2.1", 81)).toMatch(/^one /);
  expect(ask(outside, "tcp", "2001:db8::1", 81)).toBe("");
});

describe("DEL", () => {
  const ports = [mapping("tcp", 8080, 80), mapping("udp", 8080, 80), mapping("tcp", 1, 1, "::1")];

  test("takes the ports away, and what others have stays (portmap-32, portmap-45)", async () => {
    await using _other = await node.startPod("other", [80], [mapping("tcp", 8081, 80)]);
    const before = elements();
    const pod = await node.startPod("one", [80], ports);
    expect(elements().length).toBe(before.length + 7);
    await pod[Symbol.asyncDispose]();
    expect(elements()).toEqual(before);
    expect(ask(outside, "tcp", "192.0.2.1", 8080)).toBe("");
    expect(ask(outside, "tcp", "192.0.2.1", 8081)).toMatch(/^other /);
  });

  test("works from the record alone", async () => {
    await using pod = await node.startPod("one", [80], ports);
    const { key } = pod.request;
    await node.node.handlers.del({ ...aRequest({ netns: "" }), key }, forever);
    expect(elements()).toEqual([]);
  });

  test("is GC's too, for what is not listed", async () => {
    await using _stale = await node.startPod("one", [80], ports);
    await using valid = await node.startPod("two", [80], [mapping("tcp", 9, 80)]);
    const { containerId } = valid.request.key;
    const list = aNetworkRequest({ validAttachments: [{ containerId, ifName: "eth0" }] });
    await node.node.handlers.gc(list, forever);
    expect(elements().filter((line) => line.startsWith("tcp"))).toEqual([
      expect.stringContaining("tcp . 9 : 10.244.1."),
      expect.stringContaining("tcp . 9 : fd00:"),
    ]);
  });
});

test("portmap-47: a port that another pod has is refused, and nothing is left of the try", async () => {
  await using one = await node.startPod(
    "one",
    [80],
    [mapping("udp", 53, 80), mapping("tcp", 8080, 80)],
  );
  const before = elements();
  const { containerId } = one.request.key;
  const wanted = [mapping("tcp", 9000, 80), mapping("tcp", 8080, 81)];
  await expect(node.startPod("two", [80], wanted)).rejects.toMatchObject({
    code: CniCode.hostPortTaken,
    message: `Cannot take host port 8080/tcp: container "${containerId}" interface "eth0" of network "fairlead" has it`,
  });
  expect(elements()).toEqual(before);
  expect(node.node.records.list().records.map(({ key }) => key.containerId)).toEqual([containerId]);
  expect(await node.node.ipam.leases("fairlead")).toHaveLength(2);
  expect(ask(outside, "tcp", "192.0.2.1", 8080)).toMatch(/^one /);
  await node.node.handlers.del(one.request, forever);
  await using _ = await node.startPod("two", [81], wanted);
  expect(ask(outside, "tcp", "192.0.2.1", 8080)).toMatch(/^two /);
});

test("of two ADDs at once for one port, one has it", async () => {
  const outcomes = await Promise.allSettled(
    ["one", "two"].map((name) => node.startPod(name, [80], [mapping("tcp", 8080, 80)])),
  );
  const pods = outcomes.flatMap((outcome) =>
    outcome.status === "fulfilled" ? [outcome.value] : [],
  );
  expect(pods).toHaveLength(1);
  expect(outcomes.find(({ status }) => status === "rejected")).toMatchObject({
    reason: { code: CniCode.hostPortTaken },
  });
  expect(ask(outside, "tcp", "192.0.2.1", 8080)).toMatch(/^(one|two) /);
  await pods[0]![Symbol.asyncDispose]();
  expect(node.node.leftovers()).toEqual([]);
});

test("portmap-29: a repeated ADD touches nothing; one with other ports has those", async () => {
  await using pod = await node.startPod("one", [80], [mapping("tcp", 8080, 80)]);
  const before = elements();
  expect(await node.node.handlers.add(pod.request, forever)).toEqual(pod.result);
  expect(elements()).toEqual(before);
  const conf = { ...pod.request.conf, portMappings: [mapping("tcp", 8081, 80)] };
  await node.node.handlers.add({ ...pod.request, conf }, forever);
  expect(ask(outside, "tcp", "192.0.2.1", 8080)).toBe("");
  expect(ask(outside, "tcp", "192.0.2.1", 8081)).toMatch(/^one /);
});

describe("when the table is gone", () => {
  const ports = [mapping("tcp", 8080, 80), mapping("udp", 53, 80, "192.0.2.1")];
  test("CHECK names what is missing, and the records put it back", async () => {
    await using pod = await node.startPod("one", [80], ports);
    await node.node.handlers.check(checked(pod), forever);
    host.run("nft", "delete", "table", "inet", "fairlead");
    await expect(node.node.handlers.check(checked(pod), forever)).rejects.toMatchObject({
      code: CniCode.checkFailed,
      message: expect.stringMatching(
        /node: map "hostports4" of table inet fairlead lacks tcp \. 8080 : 10\.244\.1\.\d+ \. 80/,
      ),
    });
    const claims = node.node.records.hostPortClaims();
    node.kernel.applyNft(withHostPorts(hostPortTable(dualStackFacts.dns.nameservers), claims));
    await node.node.handlers.check(checked(pod), forever);
    expect(ask(outside, "tcp", "192.0.2.1", 8080)).toMatch(/^one /);
  });

  test("CHECK names one element that is missing, and a repeated ADD puts it back", async () => {
    await using pod = await node.startPod("one", [80], ports);
    host.run(
      "nft",
      "delete",
      "element",
      "inet",
      "fairlead",
      "hostports4-at",
      "{ 192.0.2.1 . udp . 53 }",
    );
    await expect(node.node.handlers.check(checked(pod), forever)).rejects.toMatchObject({
      details: expect.stringMatching(
        /^node: map "hostports4-at" .* lacks 192\.0\.2\.1 \. udp \. 53/,
      ),
    });
    await node.node.handlers.add(pod.request, forever);
    expect(ask(outside, "udp", "192.0.2.1", 53)).toMatch(/^one /);
  });

  test("DEL succeeds (portmap-29)", async () => {
    const pod = await node.startPod("one", [80], ports);
    host.run("nft", "delete", "table", "inet", "fairlead");
    await pod[Symbol.asyncDispose]();
    expect(node.node.leftovers()).toEqual([]);
  });
});

// A UDP sender that never changes its port goes on as its first packet went, for as long as the flow lasts.
test.each(["192.0.2.1", "2001:db8::1"])(
  "UDP flows that went elsewhere are forgotten when a pod comes, and its own when it goes: %s",
  async (address) => {
    // Connections are tracked from the first hostPort on.
    await using _other = await node.startPod("other", [80], [mapping("tcp", 1, 80)]);
    expect(ask(outside, "udp", address, 5353)).toBe("");
    expect(node.kernel.udpFlows(5353)).toHaveLength(1);
    await using one = await node.startPod("one", [53], [mapping("udp", 5353, 53)]);
    expect(node.kernel.udpFlows(5353)).toEqual([]);
    expect(ask(outside, "udp", address, 5353)).toMatch(/^one /);
    expect(node.kernel.udpFlows(5353)).toHaveLength(1);
    await node.node.handlers.del(one.request, forever);
    expect(node.kernel.udpFlows(5353)).toEqual([]);
  },
);

test("UDP flows that only pass by the node are let be", async () => {
  await using pod = await node.startPod("one", [80], [mapping("tcp", 1, 1)]);
  outside.run("ip", "address", "add", "198.51.100.1/32", "dev", "lo");
  host.run("ip", "route", "add", "198.51.100.1", "via", "192.0.2.254");
  ask(pod.sandbox, "udp", "198.51.100.1", 53);
  expect(node.kernel.udpFlows(53)).toHaveLength(1);
  await using _ = await node.startPod("two", [53], [mapping("udp", 53, 53)]);
  expect(node.kernel.udpFlows(53)).toHaveLength(1);
});

// No SCTP socket is needed to see one's first packet arrive where it should.
test("SCTP is led to the pod", async () => {
  await using pod = await node.startPod("one", [80], [mapping("sctp", 9, 36_412)]);
  // The checksum of a packet made by hand is not right.
  host.run("sysctl", "-qw", "net.netfilter.nf_conntrack_checksum=0");
  const words = ["netns", "exec", pod.sandbox.name, "tcpdump", "-nnlc1", "-i", "eth0", "sctp"];
  const capture = spawn("ip", words, { stdio: ["ignore", "pipe", "pipe"] });
  await once(capture.stderr, "data");
  sendSctpInit(outside, "192.0.2.1", 9);
  const [line] = await once(capture.stdout, "data");
  expect(String(line)).toMatch(/192\.0\.2\.254\.4000 > 10\.244\.1\.\d+\.36412: sctp .*INIT/);
  await once(capture, "exit");
});

/** RFC 9260 sections 3.1 and 3.3.2: the common header with an INIT chunk. */
function sendSctpInit(from: TestNamespace, address: string, port: number): void {
  const packet = Buffer.alloc(12 + 20);
  packet.writeUInt16BE(4000, 0);
  packet.writeUInt16BE(port, 2);
  packet.writeUInt8(1, 12);
  packet.writeUInt16BE(20, 14);
  for (const [at, value] of [
    [16, 1],
    [20, 65_535],
    [28, 1],
  ] as const)
    packet.writeUInt32BE(value, at);
  packet.writeUInt16BE(1, 24);
  packet.writeUInt16BE(1, 26);
  const [inet, raw, sctp] = [2, 3, 132];
  using namespace = openNamespace(from.path);
  const fd = runInNamespace(namespace, () => systemCalls.socket(inet, raw, sctp));
  const end = Uint8Array.from([inet, 0, 0, 0, ...ipToBytes(ip(address)), 0, 0, 0, 0, 0, 0, 0, 0]);
  expect(systemCalls.connect(fd, end)).toBe(0);
  expect(systemCalls.send(fd, packet, packet.length)).toBe(packet.length);
  systemCalls.close(fd);
}

test("the pod has the MAC, the names and the resolver that the runtime asks for", async () => {
  const wanted = mac("02:00:5e:10:00:01");
  await using pod = await node.startPod("one", [80], [], {
    mac: wanted,
    aliases: ["web", "web-1"],
    dns: { nameservers: ["192.0.2.54"] },
    runtimeDns: { nameservers: ["192.0.2.53"] },
  });
  expect(pod.sandbox.run("ip", "-o", "link", "show", "eth0")).toContain(wanted);
  expect(pod.result.interfaces[1]!.mac).toBe(wanted);
  expect(pod.result.dns).toEqual({ nameservers: ["192.0.2.53"] });
  expect(node.node.records.read(pod.request.key)?.aliases).toEqual(["web", "web-1"]);
  await node.node.handlers.check(checked(pod), forever);
  for (const { address } of pod.result.ips)
    expect(ask(host, "tcp", address.address, 80)).toMatch(/^one /);
  expect(await node.node.handlers.add(pod.request, forever)).toEqual(pod.result);
});

test("portmap-14: without portMappings there is no table at all", async () => {
  await using _ = await node.startPod("one", [80], []);
  expect(node.kernel.observeNft("fairlead")).toBeUndefined();
  using bare = createNamespace();
  const request = aRequest({ containerId: bare.name, netns: bare.path });
  await node.node.handlers.add(request, forever);
  expect(node.kernel.observeNft("fairlead")).toBeUndefined();
  await node.node.handlers.del(request, forever);
});
