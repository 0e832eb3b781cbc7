// A MAC that somebody gives a pod's interface after ADD, on the real kernel: what the reference plugin
// tuning does in a chain whose runtime sends no CHECK.
import { expect, test } from "vitest";
import { openKernel } from "../../kernel/linux.ts";
import { createNamespace } from "../support/netns.ts";
import { aRequest, createNode, dualStackFacts, forever } from "./fixture.ts";

const eth0 = ["ip", "link", "set", "eth0"] as const;
const giveMac = [...eth0, "address", "02:11:22:33:44:55"];

test.each([
  ["up", [giveMac]],
  ["down, and set up again", [[...eth0, "down"], giveMac, [...eth0, "up"]]],
])(
  "a new pod given a MAC, twice, while it is %s is reached after the daemon's look",
  async (_, commands) => {
    using host = createNamespace();
    using pod = createNamespace();
    host.run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "wire");
    for (const end of ["uplink", "wire"]) host.run("ip", "link", "set", end, "up");
    host.run("ip", "address", "add", "192.0.2.1/24", "dev", "uplink");
    host.run("ip", "address", "add", "2001:db8::1/64", "dev", "uplink", "nodad");
    using kernel = openKernel({ namespace: host.path });
    using node = createNode(kernel, { nodeFacts: () => dualStackFacts });
    const request = aRequest({ containerId: pod.name, netns: pod.path });
    const { ips } = await node.handlers.add(request, forever);
    const ping = () => {
      for (const { address } of ips) host.run("ping", "-c1", "-W1", address.address);
    };
    ping();
    for (let i = 0; i < 2; i++) {
      for (const [command = "", ...args] of commands) pod.run(command, ...args);
      expect(ping).toThrow("Command failed");
      node.handlers.mend();
      ping();
    }
    await node.handlers.del(request, forever);
    await node.handlers.settled();
    expect(node.leftovers()).toEqual([]);
  },
);
