// Every desired state is reached from every other, in one pass, on the kernel in memory: also in
// reverse, with steps left out and with nothing in between.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Node } from "../core/cluster/model.ts";
import { type DesiredNode, emptyNode } from "../core/desired/node-state.ts";
import { diffNode } from "../core/diff.ts";
import { formatChange } from "../core/format-change.ts";
import type { FakeKernel } from "../kernel/fake.ts";
import { aNode, cidr, ifName, ip, mac } from "../test/support/builders.ts";
import { fakeNodeA, nodeA, overlay } from "../test/support/overlay.ts";
import { observeNode } from "./observe.ts";

function reconcile(kernel: FakeKernel, desired: DesiredNode): void {
  kernel.apply(diffNode(desired, observeNode(kernel), { mayRemove: true }));
  const rest = diffNode(desired, observeNode(kernel), { mayRemove: true });
  expect(rest.map(formatChange)).toEqual([]);
}

const anyPeer = fc
  .record({ n: fc.integer({ min: 2, max: 7 }), link: fc.boolean(), address: fc.nat(2) })
  .map(({ n, link, address }): Node =>
    aNode(`node-${n}`, `172.30.${link ? 1 : 2}.${n * 10 + address}`, `10.244.${n}.0/24`),
  );
const anyState: fc.Arbitrary<DesiredNode> = fc
  .record({
    peers: fc.uniqueArray(anyPeer, { selector: ({ name }) => name }),
    backend: fc.constantFrom("auto", "vxlan", "direct"),
    vni: fc.integer({ min: 1, max: 2 }),
    port: fc.constantFrom(4789, 8472),
    local: fc.constantFrom(nodeA, { ...nodeA, podCidrs: [cidr("10.244.9.0/24")] }),
    mtu: fc.constantFrom("auto" as const, 1400),
  })
  .map((scene) => overlay(scene).node);

describe("the node's kernel", () => {
  test("reaches every state from every other", () => {
    fc.assert(
      fc.property(fc.array(anyState, { minLength: 1, maxLength: 5 }), (states) => {
        const sequences = [
          states,
          [...states].reverse(),
          states.filter((_, i) => i % 2 === 0),
          states.flatMap((state) => [state, emptyNode]),
        ];
        for (const sequence of sequences) {
          using kernel = fakeNodeA();
          for (const state of sequence) reconcile(kernel, state);
        }
      }),
      { numRuns: 60 },
    );
  });

  test("is left alone where it is not ours", () => {
    using kernel = fakeNodeA();
    const foreign = {
      destination: cidr("10.244.0.0/16"),
      device: ifName("eth0"),
      gateway: ip("172.30.1.1"),
      metric: 0,
      table: 254,
      type: "unicast",
      scope: "global",
      protocol: 4,
    } as const;
    const pod = {
      destination: cidr("10.244.1.2/32"),
      device: kernel.addDevice({ name: ifName("fl0123456789ab"), mac: mac("02:00:00:00:00:12") })
        .name,
      metric: 0,
      table: 254,
      type: "unicast",
      scope: "link",
      protocol: 76,
    } as const;
    kernel.apply([
      { kind: "add-route", route: foreign },
      { kind: "add-route", route: pod },
    ]);
    reconcile(kernel, overlay().node);
    reconcile(kernel, emptyNode);
    expect(kernel.routes({})).toEqual(expect.arrayContaining([foreign, pod]));
    expect(kernel.links().map(({ name }) => name)).toEqual(["lo", "eth0", "fl0123456789ab"]);
  });
});
