// SIGKILL at a random moment of an ADD or DEL on the real kernel: whoever comes next leaves nothing.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { expect, test } from "vitest";
import { openKernel } from "../../kernel/linux.ts";
import { createNamespace } from "../support/netns.ts";
import { aNetworkRequest, aRequest, createNode, dualStackFacts, forever } from "./fixture.ts";

const kills = Number(process.env["FAIRLEAD_KILLS"] ?? 12);

async function killVictim(...args: readonly string[]): Promise<void> {
  const victim = spawn(process.execPath, [join(import.meta.dirname, "victim.ts"), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(victim.stdout, "data");
  await setTimeout(Math.random() * 60);
  victim.kill("SIGKILL");
  const [code, signal] = await once(victim, "exit");
  expect([code, signal]).toEqual([null, "SIGKILL"]);
}

test(`${kills} kills of an ADD or DEL leave nothing that DEL, ADD or GC does not mend`, async () => {
  using stack = new DisposableStack();
  const host = stack.use(createNamespace());
  host.run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "wire");
  for (const end of ["uplink", "wire"]) host.run("ip", "link", "set", end, "up");
  host.run("ip", "address", "add", "192.0.2.1/24", "dev", "uplink");
  host.run("ip", "address", "add", "2001:db8::1/64", "dev", "uplink", "nodad");
  const kernel = stack.use(openKernel({ namespace: host.path }));
  const node = stack.use(createNode(kernel, { nodeFacts: () => dualStackFacts, reap: "wait" }));
  const sandbox = stack.use(createNamespace());
  const request = aRequest({ containerId: "victim", netns: sandbox.path });
  const mended = { del: 0, add: 0, gc: 0 };
  for (let i = 0; i < kills; i++) {
    await killVictim(host.path, sandbox.path, node.directory, i % 2 === 0 ? "begun" : "whole");
    const how = (["del", "add", "gc"] as const)[i % 3]!;
    if (node.leftovers().length > 0) mended[how]++;
    if (how === "add") {
      const result = await node.handlers.add(request, forever);
      expect(host.run("ping", "-c1", "-W2", result.ips[0]!.address.address)).toContain(
        "1 received",
      );
    }
    if (how === "gc") {
      await node.handlers.gc(aNetworkRequest({ validAttachments: [] }), forever);
      await node.handlers.sweep(forever);
    } else await node.handlers.del(request, forever);
    expect(node.leftovers()).toEqual([]);
    expect(sandbox.run("ip", "-o", "link")).toMatch(/^1: lo.*\n$/);
  }
  // A run in which every kill fell between requests would prove nothing.
  expect(Object.values(mended).every((count) => count > 0)).toBe(true);
});
