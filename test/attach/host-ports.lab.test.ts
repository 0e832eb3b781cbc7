// hostPorts with real traffic, in every direction.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TestNamespace } from "../support/netns.ts";
import {
  type HostPortNode,
  type Pod,
  ask,
  createHostPortNode,
  listen,
  mapping,
} from "./host-port-node.ts";

const stack = new AsyncDisposableStack();
let node: HostPortNode;
let host: TestNamespace;
let outside: TestNamespace;
beforeAll(() => {
  node = stack.use(createHostPortNode());
  ({ host, outside } = node);
});
afterAll(() => stack.disposeAsync());

const addressOf = ({ result }: Pod, family: 4 | 6): string =>
  result.ips.find(({ address }) => address.address.includes(":") === (family === 6))!.address
    .address;

// portmap-26: what is sent to the node and what the node sends itself alike.
describe("a hostPort for all addresses (portmap-26, portmap-44)", () => {
  let one: Pod;
  let two: Pod;
  beforeAll(async () => {
    one = stack.use(
      await node.startPod("one", [80, 53], [mapping("tcp", 8080, 80), mapping("udp", 5353, 53)]),
    );
    two = stack.use(await node.startPod("two", [81], [mapping("tcp", 8081, 81)]));
  });

  const directions: Record<string, () => [TestNamespace, string, string?]> = {
    "from outside": () => [outside, "192.0.2.1", "192.0.2.254"],
    "from outside over IPv6": () => [outside, "2001:db8::1", "2001:db8::fe"],
    "from the node by its address": () => [host, "192.0.2.1", "192.0.2.1"],
    "from the node by its IPv6 address": () => [host, "2001:db8::1", "2001:db8::1"],
    "from the node at 127.0.0.1": () => [host, "127.0.0.1"],
    "from the node at another loopback address": () => [host, "127.1.2.3"],
    "from the node at ::1": () => [host, "::1"],
    "from the pod itself": () => [one.sandbox, "192.0.2.1"],
    "from the pod itself over IPv6": () => [one.sandbox, "2001:db8::1"],
    "from another pod": () => [two.sandbox, "192.0.2.1", addressOf(two, 4)],
    "from another pod over IPv6": () => [two.sandbox, "2001:db8::1", addressOf(two, 6)],
    "from a pod of another node, by its own address": () => [outside, "192.0.2.2", "10.244.2.5"],
  };
  describe.each(Object.entries(directions))("is reached %s", (_name, direction) => {
    test.each([
      ["tcp", 8080],
      ["udp", 5353],
    ] as const)("by %s", (protocol, port) => {
      const [from, address, seenAs] = direction();
      const answer = ask(from, protocol, address, port);
      expect(answer).toMatch(/^one ./);
      // The pod sees who asks, but where only the node can take the answer back.
      if (seenAs !== undefined) expect(answer).toBe(`one ${seenAs}`);
    });
  });

  test("is the protocol's alone, and the port's", () => {
    expect(ask(outside, "udp", "192.0.2.1", 8080)).toBe("");
    expect(ask(outside, "tcp", "192.0.2.1", 5353)).toBe("");
    expect(ask(outside, "tcp", "192.0.2.1", 8081)).toMatch(/^two /);
    expect(ask(outside, "tcp", "192.0.2.1", 80)).toBe("");
  });

  test("leaves the pod's own ports to be reached directly", () => {
    expect(ask(host, "tcp", addressOf(one, 4), 80)).toBe("one 192.0.2.1");
    expect(ask(two.sandbox, "udp", addressOf(one, 6), 53)).toBe(`one ${addressOf(two, 6)}`);
  });

  test("lets no pod ask at the node's loopback address", async () => {
    await using resources = new AsyncDisposableStack();
    await listen(resources, host, "node", [7000]);
    one.sandbox.run("ip", "address", "del", "127.0.0.1/8", "dev", "lo");
    one.sandbox.run(
      "ip",
      "route",
      "add",
      "127.0.0.0/8",
      "via",
      "169.254.1.1",
      "dev",
      "eth0",
      "onlink",
    );
    one.sandbox.run("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1");
    expect(ask(host, "tcp", "127.0.0.1", 7000)).toBe("node 127.0.0.1");
    for (const port of [7000, 8080]) {
      expect(ask(one.sandbox, "tcp", "127.0.0.1", port)).toBe("");
    }
    // Not by a packet either that somebody has left untracked, which no chain for translation sees.
    host.run("nft", "add table inet foreign");
    resources.defer(() => void host.run("nft", "delete table inet foreign"));
    for (const line of [
      "chain inet foreign raw { type filter hook prerouting priority raw; }",
      "rule inet foreign raw tcp dport 7000 notrack",
      "chain inet foreign late { type filter hook input priority security; }",
      'rule inet foreign late iifname "fl*" tcp dport 7000 counter',
    ]) {
      host.run("nft", `add ${line}`);
    }
    expect(ask(one.sandbox, "tcp", "127.0.0.1", 7000)).toBe("");
    expect(host.run("nft", "list chain inet foreign late")).toContain("counter packets 0 ");
  });

  test("goes before what listens on the node at that port", async () => {
    await using resources = new AsyncDisposableStack();
    await listen(resources, host, "node", [8080]);
    expect(ask(outside, "tcp", "192.0.2.1", 8080)).toMatch(/^one /);
    expect(ask(outside, "udp", "192.0.2.1", 8080)).toMatch(/^node /);
  });

  test("is not the cluster's address for DNS", async () => {
    host.run("ip", "address", "add", "10.96.0.10/32", "dev", "lo");
    await using resources = new AsyncDisposableStack();
    await listen(resources, host, "resolver", [8080]);
    expect(ask(two.sandbox, "tcp", "10.96.0.10", 8080)).toMatch(/^resolver /);
  });
});
