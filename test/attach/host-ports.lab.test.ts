// hostPorts with real traffic. A namespace stands for the node, others for the pods, one for the world:
//
//   outside 192.0.2.254 ── uplink 192.0.2.1, 192.0.2.2 ┐      pod "one" eth0 ── fl… ┐
//           2001:db8::fe            2001:db8::1        └ node ┴─────────────────────┴ pod "two"
import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AttachmentRequest, CniResult } from "../../core/cni/types.ts";
import type { PortMapping, TransportProtocol } from "../../core/port-mapping.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { openKernel } from "../../kernel/linux.ts";
import { ip } from "../support/builders.ts";
import { type TestNamespace, createNamespace } from "../support/netns.ts";
import { type TestNode, aRequest, createNode, dualStackFacts, forever } from "./fixture.ts";

const mapping = (
  protocol: TransportProtocol,
  hostPort: number,
  containerPort: number,
  hostIp?: string,
): PortMapping => ({
  protocol,
  hostPort,
  containerPort,
  ...(hostIp !== undefined && { hostIp: ip(hostIp) }),
});

const stack = new AsyncDisposableStack();
let host: TestNamespace;
let outside: TestNamespace;
let kernel: Kernel;
let node: TestNode;

beforeAll(() => {
  host = stack.use(createNamespace());
  outside = stack.use(createNamespace());
  host.run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "wire");
  host.run("ip", "link", "set", "wire", "netns", outside.name);
  host.run("ip", "link", "set", "uplink", "up");
  outside.run("ip", "link", "set", "wire", "up");
  host.run("ip", "address", "add", "192.0.2.1/24", "dev", "uplink");
  host.run("ip", "address", "add", "192.0.2.2/24", "dev", "uplink");
  host.run("ip", "address", "add", "2001:db8::1/64", "dev", "uplink", "nodad");
  outside.run("ip", "address", "add", "192.0.2.254/24", "dev", "wire");
  outside.run("ip", "address", "add", "2001:db8::fe/64", "dev", "wire", "nodad");
  host.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
  kernel = stack.use(openKernel({ namespace: host.path }));
  node = stack.use(createNode(kernel, { nodeFacts: () => dualStackFacts }));
  stack.defer(() => node.handlers.settled());
});
afterAll(() => stack.disposeAsync());

interface Pod extends AsyncDisposable {
  readonly sandbox: TestNamespace;
  readonly request: AttachmentRequest;
  readonly result: CniResult;
}

/** A pod that answers with its name on the ports. */
async function startPod(
  name: string,
  ports: readonly number[],
  portMappings: readonly PortMapping[],
): Promise<Pod> {
  await using resources = new AsyncDisposableStack();
  const sandbox = resources.use(createNamespace());
  const request = aRequest({
    containerId: sandbox.name,
    netns: sandbox.path,
    conf: { portMappings },
  });
  const result = await node.handlers.add(request, forever);
  resources.defer(async () => {
    await node.handlers.del(request, forever);
    await node.handlers.settled();
  });
  await listen(resources, sandbox, name, ports);
  const owned = resources.move();
  return { sandbox, request, result, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function listen(
  resources: AsyncDisposableStack,
  { name: namespace }: TestNamespace,
  name: string,
  ports: readonly number[],
): Promise<void> {
  const program = new URL("echo.ts", import.meta.url).pathname;
  const words = ["netns", "exec", namespace, process.execPath, program, name, ...ports.map(String)];
  const child = spawn("ip", words, { stdio: ["ignore", "pipe", "inherit"] });
  resources.defer(async () => {
    const ended = once(child, "exit");
    child.kill();
    await ended;
  });
  await once(child.stdout, "data");
}

/** What answers there, or "" when nothing does within a second. */
function ask(from: TestNamespace, protocol: "tcp" | "udp", address: string, port: number): string {
  const exchange = `exec 3<>/dev/${protocol}/${address}/${port}; echo >&3; head -n1 <&3`;
  try {
    return from.run("timeout", "1", "bash", "-c", `{ ${exchange}; } 2>/dev/null`).trim();
  } catch {
    return "";
  }
}

const addressOf = ({ result }: Pod, family: 4 | 6): string =>
  result.ips.find(({ address }) => address.address.includes(":") === (family === 6))!.address
    .address;

describe("a hostPort for all addresses", () => {
  let one: Pod;
  let two: Pod;
  beforeAll(async () => {
    one = stack.use(
      await startPod("one", [80, 53], [mapping("tcp", 8080, 80), mapping("udp", 5353, 53)]),
    );
    two = stack.use(await startPod("two", [81], [mapping("tcp", 8081, 81)]));
  });

  const directions: Record<string, () => [TestNamespace, string, string?]> = {
    "from outside": () => [outside, "192.0.2.1", "192.0.2.254"],
    "from outside to another address of the node": () => [outside, "192.0.2.2", "192.0.2.254"],
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
