import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { aNode, byName, cidr, ip } from "../../test/support/builders.ts";
import { cidrsOverlap } from "../address.ts";
import { membershipSettler, settleMembership } from "./membership.ts";
import type { Node } from "./model.ts";

const cluster = [cidr("10.244.0.0/16"), cidr("fd00:10:244::/48")];
const messages = (nodes: readonly Node[]): string[] =>
  settleMembership(nodes, cluster).problems.map(({ message }) => message);
const claims = (nodes: readonly Node[]): Record<string, readonly string[]> =>
  Object.fromEntries(
    [...settleMembership(nodes, cluster).nodes].map(([name, node]) => [name, node.podCidrs]),
  );

describe("settleMembership()", () => {
  test("keeps nodes whose claims are apart", () => {
    const nodes = [
      aNode("a", "192.0.2.1", "10.244.1.0/24"),
      aNode("b", "192.0.2.2", "10.244.2.0/24"),
    ];
    expect(settleMembership(nodes, cluster)).toEqual({
      nodes: new Map(nodes.map((node) => [node.name, node])),
      problems: [],
    });
  });

  test("gives an overlapping pod CIDR to the older node, and names the loser", () => {
    const nodes = [
      aNode("a", "192.0.2.1", "10.244.1.0/24", { createdAtMs: 2000 }),
      aNode("b", "192.0.2.2", "10.244.1.0/24", { createdAtMs: 1000 }),
    ];
    expect(claims(nodes)).toEqual({ a: [], b: ["10.244.1.0/24"] });
    expect(messages(nodes)).toEqual([
      "Cannot use pod CIDR 10.244.1.0/24 of Node a: it overlaps that of the older Node b",
    ]);
  });

  test("settles a tie by name, and takes a node without a time for the newest", () => {
    const same = (name: string, more: Partial<Node> = {}): Node =>
      aNode(name, `192.0.2.${name.charCodeAt(0)}`, "10.244.1.0/24", more);
    expect(claims([same("b"), same("a")])).toMatchObject({ a: ["10.244.1.0/24"], b: [] });
    expect(claims([same("b", { createdAtMs: 9000 }), same("a")])).toMatchObject({
      a: [],
      b: ["10.244.1.0/24"],
    });
  });

  test.each([
    ["10.244.0.0/20", "10.244.1.0/24"],
    ["10.244.1.0/24", "10.244.0.0/20"],
  ])("finds %s around or inside %s", (older, newer) => {
    const nodes = [
      aNode("a", "192.0.2.1", older, { createdAtMs: 1 }),
      aNode("b", "192.0.2.2", newer, { createdAtMs: 2 }),
    ];
    expect(claims(nodes)).toEqual({ a: [older], b: [] });
  });

  test.each([
    ["10.244.1.7", "another node's"],
    ["10.244.2.9", "its own"],
  ])("refuses a pod CIDR with the address %s, %s, also when it comes later", (address) => {
    const settle = membershipSettler(cluster);
    const [a, b] = [
      aNode("a", "192.0.2.1", "10.244.1.0/24"),
      aNode("b", "192.0.2.2", "10.244.2.0/24"),
    ];
    const moved = aNode("b", address, "10.244.2.0/24");
    const said = (nodes: readonly Node[]) =>
      settle(byName(nodes), []).problems.map((one) => one.message);
    expect(said([a, b])).toEqual([]);
    const [refused, whose] = address.startsWith("10.244.1")
      ? ["10.244.1.0/24", "a"]
      : ["10.244.2.0/24", "b"];
    expect(said([a, moved])).toEqual([
      `Cannot use pod CIDR ${refused} of Node ${whose}: ${address} in it is the address of Node b`,
    ]);
    expect(settle(byName([a, moved]), []).nodes.get(whose)?.podCidrs).toEqual([]);
    expect(said([a, b])).toEqual([]);
  });

  test("keeps a node's address that is in the pods' networks and in nobody's pod CIDR", () => {
    const nodes = [
      aNode("a", "10.244.9.1", "10.244.1.0/24"),
      aNode("b", "10.244.9.2", "10.244.2.0/24"),
    ];
    expect(messages(nodes)).toEqual([]);
    expect(claims(nodes)).toEqual({ a: ["10.244.1.0/24"], b: ["10.244.2.0/24"] });
  });

  test("refuses only the claim that is wrong", () => {
    const podCidrs = [cidr("10.99.1.0/24"), cidr("fd00:10:244:1::/64")];
    const nodes = [aNode("a", "192.0.2.1", "10.244.1.0/24", { podCidrs })];
    expect(claims(nodes)).toEqual({ a: ["fd00:10:244:1::/64"] });
    expect(messages(nodes)).toEqual([
      "Cannot use pod CIDR 10.99.1.0/24 of Node a: expected one inside 10.244.0.0/16 or fd00:10:244::/48",
    ]);
  });

  test("gives an address to one node, and reports a node without one or without pod CIDRs", () => {
    const nodes = [
      aNode("a", "192.0.2.1", "10.244.1.0/24"),
      aNode("b", "192.0.2.1", "10.244.2.0/24"),
      aNode("c", "192.0.2.3", "10.244.3.0/24", { addresses: [], podCidrs: [] }),
    ];
    expect(messages(nodes)).toEqual([
      "Cannot use address 192.0.2.1 of Node b: it is Node a's",
      "Cannot reach Node c: status.addresses has no InternalIP",
      "Cannot route to pods of Node c: spec.podCIDRs is empty",
    ]);
    expect(settleMembership(nodes, cluster).nodes.get("b")?.addresses).toEqual([]);
  });

  test("never grants two networks that overlap, in any order of the nodes", () => {
    const anyNode = fc
      .record({
        block: fc.nat(15),
        length: fc.integer({ min: 20, max: 26 }),
        createdAtMs: fc.nat(3),
      })
      .map(({ block, length, createdAtMs }) => ({
        podCidr: cidr(`10.244.${(block * 16) & (0xff << Math.max(0, 24 - length))}.0/${length}`),
        createdAtMs,
      }));
    fc.assert(
      fc.property(fc.array(anyNode, { maxLength: 12 }), (drafts) => {
        const nodes = drafts.map(({ podCidr, createdAtMs }, i) => ({
          ...aNode(`n${i}`, `192.0.2.${i + 1}`, "10.244.0.0/24"),
          podCidrs: [podCidr],
          createdAtMs,
        }));
        const settled = settleMembership(nodes, cluster);
        expect(settleMembership([...nodes].reverse(), cluster)).toEqual(settled);
        const granted = [...settled.nodes.values()].flatMap((node) => node.podCidrs);
        const overlaps = granted.some((a, i) =>
          granted.some((b, j) => j > i && cidrsOverlap(a, b)),
        );
        expect(overlaps).toBe(false);
        // Whoever lost, lost to somebody: nothing is refused without an overlap.
        const refused = [...settled.nodes.values()].filter((node) => node.podCidrs.length === 0);
        for (const node of refused) {
          const [claim] = nodes.find(({ name }) => name === node.name)!.podCidrs;
          expect(granted.some((other) => cidrsOverlap(other, claim!))).toBe(true);
        }
      }),
    );
  });

  test("judges a cluster as at first, however often, and gives the same object again", () => {
    const anyNode = fc
      .record({ n: fc.nat(4), block: fc.nat(4), length: fc.constantFrom(23, 24, 25), a: fc.nat(4) })
      .map(({ n, block, length, a }) =>
        aNode(`n${n}`, `192.0.2.${a}`, `10.${block === 4 ? 9 : 244}.${block * 2}.0/${length}`),
      );
    const anyCluster = fc.uniqueArray(anyNode, { selector: ({ name }) => name });
    fc.assert(
      fc.property(fc.array(anyCluster), (clusters) => {
        const settle = membershipSettler(cluster);
        for (const nodes of clusters) {
          const settled = settle(byName(nodes), []);
          expect(settled).toEqual(settleMembership(nodes, cluster));
          expect(settled).toEqual(settle(byName([...nodes].reverse()), []));
        }
      }),
    );
    const [a, b] = [
      aNode("a", "192.0.2.1", "10.244.1.0/24"),
      aNode("b", "192.0.2.2", "10.244.2.0/24"),
    ];
    const settle = membershipSettler(cluster);
    expect(settle(byName([a, b]), []).nodes.get("a")).toBe(a);
    // What was replaced claims nothing any more.
    for (const address of ["192.0.2.3", "192.0.2.2"]) {
      const moved = aNode("b", address, "10.244.2.0/24");
      const { nodes } = settle(byName([a, moved]), []);
      expect([nodes.get("a"), nodes.get("b")]).toEqual([a, moved]);
      expect(nodes.get("b")).toBe(moved);
    }
  });

  test("keeps any number of blocks of a node, but for one inside another", () => {
    const podCidrs = ["10.244.1.0/24", "10.244.9.0/24", "fd00:10:244:1::/64", "10.244.9.128/25"];
    const node = { ...aNode("a", "192.0.2.1", "10.244.1.0/24"), podCidrs: podCidrs.map(cidr) };
    expect(claims([node])).toEqual({ a: podCidrs.slice(0, 3) });
    expect(messages([node])).toEqual([
      "Cannot use pod CIDR 10.244.9.128/25 of Node a: it overlaps another of its own",
    ]);
  });

  test("has addresses in the canonical form to compare", () => {
    const nodes = [
      aNode("a", "2001:db8::1", "10.244.1.0/24"),
      { ...aNode("b", "192.0.2.1", "10.244.2.0/24"), addresses: [ip("2001:DB8:0::1")] },
    ];
    expect(messages(nodes)).toEqual(["Cannot use address 2001:db8::1 of Node b: it is Node a's"]);
  });
});
