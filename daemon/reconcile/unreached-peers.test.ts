import { expect, test } from "vitest";
import type { Cidr } from "../../core/address.ts";
import type { Node } from "../../core/cluster/model.ts";
import { unplannedPeer } from "../../core/desired/overlay.ts";
import { aNode, aSnapshot, cidr } from "../../test/support/builders.ts";
import { UnreachedPeers } from "./unreached-peers.ts";

const own = aNode("a", "192.0.2.1", "10.244.1.0/24");
const b = aNode("b", "192.0.2.2", "10.244.2.0/24");
const c = aNode("c", "192.0.2.3", "10.244.3.0/24");
const d = aNode("d", "192.0.2.4", "10.244.4.0/24");

const pass = (peers: readonly Node[], isProgrammed = true) => ({
  isProgrammed,
  plan: {
    peers: new Map(peers.map((node) => [node.name, unplannedPeer({ ...node, strays: [] })])),
  },
});

function after(...peers: readonly Node[]): {
  unreached: UnreachedPeers;
  see: (...nodes: readonly Node[]) => readonly Cidr[];
} {
  const unreached = new UnreachedPeers("a");
  unreached.see(aSnapshot({ nodes: [own, ...peers] }));
  unreached.passed(pass(peers));
  const see = (...nodes: readonly Node[]): readonly Cidr[] => {
    unreached.see(aSnapshot({ nodes: [own, ...nodes] }));
    return unreached.networks;
  };
  return { unreached, see };
}

test("nothing before the first pass, and nothing that it knows", () => {
  const unreached = new UnreachedPeers("a");
  unreached.see(aSnapshot({ nodes: [own, b] }));
  expect(unreached.networks).toEqual([]);
  unreached.passed(pass([b], false));
  expect(unreached.networks).toEqual([]);
});

test("a peer or block that is new, until a pass succeeds", () => {
  const { unreached, see } = after(b);
  expect(see(b, c)).toEqual(["10.244.3.0/24"]);
  unreached.passed(pass([b, c], false));
  expect(unreached.networks).toEqual(["10.244.3.0/24"]);
  unreached.passed(pass([b, c]));
  expect(unreached.networks).toEqual([]);
  const wider = { ...b, podCidrs: [...b.podCidrs, cidr("10.244.12.0/24")] };
  expect(see(wider, c)).toEqual(["10.244.12.0/24"]);
});

test("a peer that leaves, at once; until another has its block", () => {
  const { unreached, see } = after(b, c);
  expect(see(b)).toEqual(["10.244.3.0/24"]);
  unreached.passed(pass([b]));
  expect(unreached.networks).toEqual(["10.244.3.0/24"]);
  const heir = { ...d, podCidrs: c.podCidrs };
  expect(see(b, heir)).toEqual(["10.244.3.0/24"]);
  unreached.passed(pass([b, heir]));
  expect(unreached.networks).toEqual([]);
});

test("peers that leave together are no matter of names", () => {
  const { see } = after(b, c, d);
  expect(see(b)).toEqual([]);
});

test("a block that another node has in part is left to the plan", () => {
  const { see } = after(b);
  expect(see(b, { ...c, podCidrs: [cidr("10.244.2.128/25"), cidr("10.244.1.0/25")] })).toEqual([]);
});
