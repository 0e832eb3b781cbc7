// Nodes on one link: a bridge in a namespace of its own, whose cables carry what the nodes send without
// cutting it up, as cards with offloads for tunnels do.
import { createNamespace, type TestNamespace } from "../../test/support/netns.ts";

export interface Underlay extends Disposable {
  /** A node at 172.30.1.NUMBER. */
  addNode(number: number): TestNamespace;
}

export const underlayAddress = (number: number): string => `172.30.1.${number}`;

export function createUnderlay(): Underlay {
  const stack = new DisposableStack();
  const wire = stack.use(createNamespace());
  wire.run("ip", "link", "add", "link1", "type", "bridge");
  wire.run("ip", "link", "set", "link1", "up");
  // The link is no machine that filters.
  wire.run("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0");
  return {
    addNode(number) {
      const node = stack.use(createNamespace());
      connect(wire, `port${number}`, node, "eth0");
      wire.run("ip", "link", "set", `port${number}`, "master", "link1");
      node.run("ip", "address", "add", `${underlayAddress(number)}/24`, "dev", "eth0");
      return node;
    },
    [Symbol.dispose]: () => stack.dispose(),
  };
}

/** Has the node send frames of the link's size, as through a card without offloads for tunnels. */
export const cutFrames = (node: TestNamespace): void =>
  void node.run("ip", "link", "set", "eth0", "gso_max_segs", "1");

/** A veth pair between two namespaces, both ends up. */
export function connect(a: TestNamespace, aName: string, b: TestNamespace, bName: string): void {
  const queues = ["numtxqueues", "1", "numrxqueues", "1"];
  const peer = ["peer", "name", bName, ...queues, "netns", b.name];
  a.run("ip", "link", "add", aName, ...queues, "type", "veth", ...peer);
  a.run("ip", "link", "set", aName, "up");
  b.run("ip", "link", "set", bName, "up");
}
