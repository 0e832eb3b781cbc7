// A node for hostPorts. A namespace stands for the node, others for the pods, one for the world:
//
//   outside 192.0.2.254 ── uplink 192.0.2.1, 192.0.2.2 ┐      pod "one" eth0 ── fl… ┐
//           2001:db8::fe            2001:db8::1        └ node ┴─────────────────────┴ pod "two"
//
// To 192.0.2.2 the outside sends as a pod of another node would: from 10.244.2.5.
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { AttachmentRequest, CniResult, NetConf } from "../../core/cni/types.ts";
import type { PortMapping, TransportProtocol } from "../../core/port-mapping.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { openKernel } from "../../kernel/linux.ts";
import { ip } from "../support/builders.ts";
import { type TestNamespace, createNamespace } from "../support/netns.ts";
import { type TestNode, aRequest, createNode, dualStackFacts, forever } from "./fixture.ts";

export const mapping = (
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

export interface Pod extends AsyncDisposable {
  readonly sandbox: TestNamespace;
  readonly request: AttachmentRequest;
  readonly result: CniResult;
}

export interface HostPortNode extends AsyncDisposable {
  readonly host: TestNamespace;
  readonly outside: TestNamespace;
  readonly kernel: Kernel;
  readonly node: TestNode;
  /** A pod that answers with its name on the ports; DEL comes with its end. */
  startPod(
    name: string,
    ports: readonly number[],
    portMappings: readonly PortMapping[],
    conf?: Partial<NetConf>,
  ): Promise<Pod>;
}

export function createHostPortNode(): HostPortNode {
  const stack = new AsyncDisposableStack();
  const host = stack.use(createNamespace());
  const outside = stack.use(createNamespace());
  host.run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "wire");
  host.run("ip", "link", "set", "wire", "netns", outside.name);
  host.run("ip", "link", "set", "uplink", "up");
  outside.run("ip", "link", "set", "wire", "up");
  host.run("ip", "address", "add", "192.0.2.1/24", "dev", "uplink");
  host.run("ip", "address", "add", "192.0.2.2/24", "dev", "uplink");
  host.run("ip", "address", "add", "2001:db8::1/64", "dev", "uplink", "nodad");
  host.run("ip", "route", "add", "10.244.2.0/24", "via", "192.0.2.254");
  outside.run("ip", "address", "add", "192.0.2.254/24", "dev", "wire");
  outside.run("ip", "address", "add", "10.244.2.5/32", "dev", "lo");
  outside.run("ip", "route", "add", "192.0.2.2/32", "dev", "wire", "src", "10.244.2.5");
  outside.run("ip", "address", "add", "2001:db8::fe/64", "dev", "wire", "nodad");
  host.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
  const kernel = stack.use(openKernel({ namespace: host.path }));
  const node = stack.use(createNode(kernel, { nodeFacts: () => dualStackFacts }));
  stack.defer(() => node.handlers.settled());
  return {
    host,
    outside,
    kernel,
    node,
    startPod: (name, ports, portMappings, conf = {}) =>
      startPod(node, { name, ports, conf: { ...conf, portMappings } }),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

interface PodParts {
  readonly name: string;
  readonly ports: readonly number[];
  readonly conf: Partial<NetConf>;
}

async function startPod(node: TestNode, { name, ports, conf }: PodParts): Promise<Pod> {
  await using resources = new AsyncDisposableStack();
  const sandbox = resources.use(createNamespace());
  const request = aRequest({ containerId: sandbox.name, netns: sandbox.path, conf });
  const result = await node.handlers.add(request, forever);
  resources.defer(async () => {
    await node.handlers.del(request, forever);
    await node.handlers.settled();
  });
  await listen(resources, sandbox, name, ports);
  const owned = resources.move();
  return { sandbox, request, result, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Answers with the name on the ports, in the namespace, for as long as the resources live. */
export async function listen(
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

/** What answers there, or "" when nothing does within three seconds: a busy machine takes one to start bash. */
export function ask(
  from: TestNamespace,
  protocol: "tcp" | "udp",
  address: string,
  port: number,
): string {
  const exchange = `exec 3<>/dev/${protocol}/${address}/${port}; echo >&3; head -n1 <&3`;
  try {
    return from.run("timeout", "3", "bash", "-c", `{ ${exchange}; } 2>/dev/null`).trim();
  } catch {
    return "";
  }
}
