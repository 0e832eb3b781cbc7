// How the cluster CIDRs are cut into blocks is the same on every node: with one size of block in any
// place, two blocks are one or apart, and a key per block is enough that none is held twice.
import {
  type Cidr,
  cidrAt,
  cidrBase,
  cidrOf,
  cidrPrefixLength,
  cidrSize,
  cidrsOverlap,
  familyOf,
} from "../../core/address.ts";
import type { Random } from "../../core/clock.ts";
import type { BlockPlan } from "../node-blocks.ts";
import { type DivisionRecord, divisionKey, formatRecord, readDivision } from "./records.ts";
import { backOff, mostTries } from "./retry.ts";
import { read, type Steps, write } from "./step.ts";

type Part = DivisionRecord["cidrs"][number];

export type Settled =
  | { readonly kind: "settled" }
  /** Nothing is claimed: blocks of two sizes could overlap. */
  | { readonly kind: "mismatch"; readonly own: Part; readonly other: Part }
  | { readonly kind: "uncertain"; readonly cause: unknown };

/**
 * Agrees with the other nodes on the division, and adds what is new in these plans. What was agreed on
 * is never taken back, so that a stale read of it is true as well.
 */
export function* settleDivision(plans: readonly BlockPlan[], random: Random): Steps<Settled> {
  const own = plans.flatMap(partsOf);
  let cause: unknown;
  for (const [at, part] of own.entries()) {
    const other = own.slice(0, at).find((before) => contradicts(part, before));
    if (other !== undefined) return { kind: "mismatch", own: part, other };
  }
  for (let attempt = 0; attempt < mostTries; attempt++) {
    if (attempt > 0) yield* backOff(attempt, random);
    const found = yield* read({ kind: "get", key: divisionKey });
    if (found.kind === "uncertain") {
      ({ cause } = found);
      continue;
    }
    const [entry] = found.entries;
    const agreed = entry === undefined ? [] : readDivision(entry).cidrs;
    for (const part of own) {
      const other = agreed.find((one) => contradicts(part, one));
      if (other !== undefined) return { kind: "mismatch", own: part, other };
    }
    const added = own.filter((part) => !agreed.some((one) => isSame(one, part)));
    if (entry !== undefined && added.length === 0) return { kind: "settled" };
    const value = formatRecord({ version: 1, cidrs: [...agreed, ...added] });
    const written = yield* write(
      entry === undefined
        ? { kind: "create", key: divisionKey, value }
        : { kind: "replace", entry: { ...entry, value } },
    );
    if (written.kind === "written") return { kind: "settled" };
    if (written.kind === "uncertain") ({ cause } = written);
  }
  return { kind: "uncertain", cause };
}

const partsOf = ({ clusterCidrs, nodePrefixLength }: BlockPlan): readonly Part[] =>
  clusterCidrs.map((cidr) => ({ cidr, prefixLength: nodePrefixLength[`ipv${familyOf(cidr)}`] }));

const isSame = (a: Part, b: Part): boolean =>
  a.cidr === b.cidr && a.prefixLength === b.prefixLength;

const contradicts = (a: Part, b: Part): boolean =>
  a.prefixLength !== b.prefixLength && cidrsOverlap(a.cidr, b.cidr);

/** For the operator. */
export const describeMismatch = ({ own, other }: Extract<Settled, { kind: "mismatch" }>): string =>
  `Cannot divide ${own.cidr} into blocks of /${own.prefixLength}: the cluster divides ` +
  `${other.cidr} into /${other.prefixLength}. Give all nodes the same nodePrefixLength`;

/** Larger than this, a pod CIDR given by hand is refused: each block of it is a claim. */
export const mostManualBlocks = 4096;

/** The plan's blocks that this network has addresses of, of any size: one that it is in, or many. */
export function coveringBlocks(plan: BlockPlan, cidr: Cidr): readonly Cidr[] {
  const family = familyOf(cidr);
  const prefixLength = plan.nodePrefixLength[`ipv${family}`];
  if (!plan.clusterCidrs.some((cluster) => cidrsOverlap(cluster, cidr))) return [];
  if (cidrPrefixLength(cidr) >= prefixLength) return [cidrOf(cidrBase(cidr), prefixLength)];
  const count = 1n << BigInt(prefixLength - cidrPrefixLength(cidr));
  if (count > BigInt(mostManualBlocks)) {
    throw new RangeError(
      `Cannot claim ${cidr}, given by hand: it has ${count} blocks of /${prefixLength}, expected at most ${mostManualBlocks}`,
    );
  }
  const step = cidrSize(cidr) / count;
  return Array.from({ length: Number(count) }, (_, i) =>
    cidrOf(cidrAt(cidr, BigInt(i) * step), prefixLength),
  ).filter((block) => plan.clusterCidrs.some((cluster) => cidrsOverlap(cluster, block)));
}
