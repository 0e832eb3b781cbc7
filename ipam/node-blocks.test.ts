import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Cidr, cidrsOverlap } from "../core/address.ts";
import { cidr } from "../test/support/builders.ts";
import {
  type BlockPlan,
  assignBlocks,
  assignEachNode,
  assignNodeBlocks,
  describeExhaustion,
  isBlockOf,
} from "./node-blocks.ts";

const plan = (clusterCidrs: readonly string[], ipv4 = 24, ipv6 = 64): BlockPlan => ({
  clusterCidrs: clusterCidrs.map(cidr),
  nodePrefixLength: { ipv4, ipv6 },
});
const first = (blockPlan: BlockPlan, ...taken: readonly string[]): string => {
  const result = assignNodeBlocks(blockPlan, taken.map(cidr));
  return result.kind === "assigned" ? result.blocks.join(" ") : describeExhaustion(result);
};
/** The blocks of nodes one after the other, until a family is exhausted. */
const all = (blockPlan: BlockPlan, taken: readonly Cidr[] = []): string[] => {
  const assigned: string[] = [];
  for (const result of assignEachNode(blockPlan, taken)) {
    if (result.kind === "exhausted") break;
    assigned.push(result.blocks.join(" "));
  }
  return assigned;
};

describe("assignNodeBlocks()", () => {
  test.each([
    ["the first block", plan(["10.244.0.0/16"]), [], "10.244.0.0/24"],
    ["the first gap", plan(["10.244.0.0/16"]), ["10.244.0.0/24", "10.244.2.0/24"], "10.244.1.0/24"],
    ["past a larger one", plan(["10.244.0.0/16"]), ["10.244.0.0/20"], "10.244.16.0/24"],
    ["past a smaller one", plan(["10.244.0.0/16"]), ["10.244.0.128/30"], "10.244.1.0/24"],
    [
      "past nested ones",
      plan(["10.244.0.0/16"]),
      ["10.244.1.0/24", "10.244.0.0/22"],
      "10.244.4.0/24",
    ],
    [
      "whatever is taken elsewhere",
      plan(["10.244.0.0/16"]),
      ["10.0.0.0/16", "::/0"],
      "10.244.0.0/24",
    ],
    [
      "both families",
      plan(["10.244.0.0/16", "fd00:10:244::/56"]),
      ["fd00:10:244::/64"],
      "10.244.0.0/24 fd00:10:244:1::/64",
    ],
    [
      "the next cluster CIDR of a family",
      plan(["10.1.0.0/24", "10.2.0.0/16"]),
      ["10.1.0.0/24"],
      "10.2.0.0/24",
    ],
    ["the whole of a cluster CIDR", plan(["10.1.0.0/24"]), [], "10.1.0.0/24"],
    ["a huge cluster CIDR", plan(["fd00::/8"]), ["fd00::/16"], "fd01::/64"],
    ["everything", plan(["0.0.0.0/0"], 1), ["0.0.0.0/1"], "128.0.0.0/1"],
  ])("gives %s", (_what, blockPlan, taken, expected) =>
    expect(first(blockPlan, ...taken)).toBe(expected),
  );

  test.each([
    [
      "all are taken",
      plan(["10.1.0.0/23"]),
      ["10.1.0.0/24", "10.1.1.0/24"],
      "all 2 blocks of /24 in 10.1.0.0/23 are taken",
    ],
    ["one obstacle covers all", plan(["10.1.0.0/23"]), ["10.0.0.0/8"], "all 2 blocks"],
    [
      "a block is larger than the cluster CIDR",
      plan(["10.1.0.0/25"]),
      [],
      "all 0 blocks of /24 in 10.1.0.0/25",
    ],
    [
      "one of two families is",
      plan(["10.1.0.0/23", "fd00::/64"]),
      ["fd00::/80"],
      "all 1 blocks of /64 in fd00::/64",
    ],
  ])("gives none when %s", (_what, blockPlan, taken, expected) =>
    expect(first(blockPlan, ...taken)).toContain(expected),
  );
});

const assigned = (blockPlan: BlockPlan, request: Parameters<typeof assignBlocks>[1]): string => {
  const result = assignBlocks(blockPlan, request);
  return result.kind === "assigned" ? result.blocks.join(" ") : describeExhaustion(result);
};

describe("assignBlocks()", () => {
  const dual = plan(["10.244.0.0/16", "fd00::/56"]);

  test("gives several blocks of each family", () =>
    expect(assigned(dual, { taken: [cidr("10.244.1.0/24")], count: 2 })).toBe(
      "10.244.0.0/24 10.244.2.0/24 fd00::/64 fd00:0:0:1::/64",
    ));

  test("gives only the families that are asked for", () =>
    expect(assigned(dual, { taken: [], families: [6] })).toBe("fd00::/64"));

  test("never gives what is reserved", () => {
    const reserved = [cidr("10.244.0.0/23"), cidr("fd00::80/128")];
    expect(assigned({ ...dual, reserved }, { taken: [] })).toBe("10.244.2.0/24 fd00:0:0:1::/64");
    const previous = [cidr("10.244.1.0/24")];
    expect(assigned({ ...dual, reserved }, { taken: [], previous, families: [4] })).toBe(
      "10.244.2.0/24",
    );
  });

  test.each([
    ["gives a block back", [], ["10.244.7.0/24"], "10.244.7.0/24"],
    [
      "gives back the first that is free",
      ["10.244.7.0/24"],
      ["10.244.7.0/24", "10.244.9.0/24"],
      "10.244.9.0/24",
    ],
    [
      "gives another for one that is taken",
      ["10.244.7.128/25"],
      ["10.244.7.0/24"],
      "10.244.0.0/24",
    ],
    ["gives another for one of another size", [], ["10.244.6.0/23"], "10.244.0.0/24"],
    ["gives another for one elsewhere", [], ["10.9.6.0/24"], "10.244.0.0/24"],
  ])("%s", (_what, taken, previous, expected) =>
    expect(
      assigned(plan(["10.244.0.0/16"]), { taken: taken.map(cidr), previous: previous.map(cidr) }),
    ).toBe(expected),
  );

  test("gives no block of overlapping cluster CIDRs twice", () => {
    expect(all(plan(["10.1.1.0/24", "10.1.0.0/22"]))).toEqual([
      "10.1.1.0/24",
      "10.1.0.0/24",
      "10.1.2.0/24",
      "10.1.3.0/24",
    ]);
    expect(first(plan(["10.1.1.0/24", "10.1.0.0/23", "10.1.0.0/23"]), "10.1.0.0/16")).toContain(
      "all 2 blocks of /24",
    );
  });

  test("gives blocks that overlap nothing, and all that are left when asked for that many", () => {
    const anyCidr = fc
      .tuple(fc.nat(15), fc.integer({ min: 20, max: 28 }))
      .map(([third, length]) =>
        cidr(`10.1.${length < 24 ? (third >> (24 - length)) << (24 - length) : third}.0/${length}`),
      );
    const some = fc.array(anyCidr, { maxLength: 6 });
    fc.assert(
      fc.property(some, some, some, (taken, reserved, previous) => {
        const blockPlan = { ...plan(["10.1.0.0/21", "10.1.8.0/21"]), reserved };
        const obstacles = [...taken, ...reserved];
        const blocks = Array.from({ length: 16 }, (_, i) => cidr(`10.1.${i}.0/24`));
        const free = blocks.filter((block) => !obstacles.some((one) => cidrsOverlap(one, block)));
        const request = { taken, previous, count: free.length };
        const given = assignBlocks(blockPlan, request);
        expect(given.kind === "assigned" && given.blocks.toSorted()).toEqual(free.toSorted());
        const more = assignBlocks(blockPlan, { ...request, count: free.length + 1 });
        expect(more.kind).toBe("exhausted");
        const one = assignBlocks(blockPlan, { taken, previous });
        const back = previous.find((block) => isBlockOf(blockPlan, block) && free.includes(block));
        expect(one.kind === "assigned" ? one.blocks : []).toEqual(
          back === undefined ? free.slice(0, 1) : [back],
        );
      }),
    );
  });
});

describe("assignEachNode()", () => {
  test("goes through the blocks in order", () =>
    expect(all(plan(["10.1.0.0/22", "fd00::/62"]), [cidr("10.1.1.0/24")])).toEqual([
      "10.1.0.0/24 fd00::/64",
      "10.1.2.0/24 fd00:0:0:1::/64",
      "10.1.3.0/24 fd00:0:0:2::/64",
    ]));

  test("gives every block that nothing taken overlaps, and no other", () => {
    const taken = fc.array(
      fc
        .tuple(fc.integer({ min: 0, max: 63 }), fc.integer({ min: 20, max: 28 }))
        .map(([third, length]) => {
          const octet = length < 24 ? (third >> (24 - length)) << (24 - length) : third;
          return cidr(`10.1.${octet}.0/${length}`);
        }),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(taken, (obstacles) => {
        const blocks = Array.from({ length: 64 }, (_, i) => cidr(`10.1.${i}.0/24`));
        const free = blocks.filter((block) => !obstacles.some((one) => cidrsOverlap(one, block)));
        expect(all(plan(["10.1.0.0/18"]), obstacles)).toEqual(free);
      }),
    );
  });
});
