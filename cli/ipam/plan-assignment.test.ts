import fc from "fast-check";
import { expect, test } from "vitest";
import { cidrsOverlap } from "../../core/address.ts";
import { aNode, cidr } from "../../test/support/builders.ts";
import { planAssignment } from "./plan-assignment.ts";

const plan = {
  clusterCidrs: [cidr("10.1.0.0/18")],
  nodePrefixLength: { ipv4: 24, ipv6: 64 },
};

test("planAssignment() refuses what overlaps, and gives nothing that does", () => {
  const anyCidr = fc
    .tuple(fc.nat(63), fc.integer({ min: 20, max: 26 }))
    .map(([third, length]) =>
      cidr(`10.1.${length < 24 ? (third >> (24 - length)) << (24 - length) : third}.0/${length}`),
    );
  const anyNodes = fc.array(fc.array(anyCidr, { maxLength: 2 }), { maxLength: 8 });
  fc.assert(
    fc.property(anyNodes, (drafts) => {
      const nodes = drafts.map((podCidrs, i) => ({
        ...aNode(`n${i}`, `192.0.2.${i + 1}`, "10.1.0.0/24"),
        podCidrs,
      }));
      const held = drafts.flat();
      const isClean = !held.some((one, i) =>
        held.some((two, j) => j > i && cidrsOverlap(one, two)),
      );
      const request = { plan, nodes, isOfPool: () => true };
      if (!isClean) {
        expect(() => planAssignment(request)).toThrow("while some overlap");
        return;
      }
      const given = planAssignment(request);
      expect(given.map(({ node }) => node.name)).toEqual(
        nodes.filter(({ podCidrs }) => podCidrs.length === 0).map(({ name }) => name),
      );
      const all = [...held, ...given.flatMap(({ podCidrs }) => podCidrs)];
      expect(all.some((one, i) => all.some((two, j) => j > i && cidrsOverlap(one, two)))).toBe(
        false,
      );
    }),
  );
});

test("planAssignment() serves 5,000 Nodes", () => {
  const nodes = Array.from({ length: 5000 }, (_, i) => ({
    ...aNode(`n${i}`, "192.0.2.1", "10.1.0.0/24"),
    podCidrs: [],
  }));
  const wide = { ...plan, clusterCidrs: [cidr("10.0.0.0/8")] };
  const given = planAssignment({ plan: wide, nodes, isOfPool: () => true });
  expect(given.at(-1)?.podCidrs).toEqual(["10.19.135.0/24"]);
});
