// One block: claimed, proven, marked as leaving, removed.
//
// A process holds a block from the moment at which a write of its own that makes or keeps the claim
// active was answered with success, until it begins to leave it. Reads only say where to write. A claim
// is removed at a revision at which it was leaving, and never used again without another write: so no
// removal, however late it takes effect, meets a claim that is in use. See docs/decisions.
import type { Cidr } from "../../core/address.ts";
import type { Random } from "../../core/clock.ts";
import { blockKey, type BlockRecord, formatRecord, readBlock } from "./records.ts";
import { backOff, mostTries } from "./retry.ts";
import { read, type Steps, write } from "./step.ts";

export interface Claimant {
  readonly node: string;
  readonly session: string;
  readonly random: Random;
}

export interface Claim {
  readonly block: Cidr;
  readonly pool: string;
  readonly order: number;
  readonly manual?: Cidr;
}

export type Proof =
  | { readonly kind: "held"; readonly revision: string }
  | { readonly kind: "taken"; readonly by: string }
  | { readonly kind: "absent" }
  | { readonly kind: "uncertain"; readonly cause: unknown };

const recordOf = (
  { node, session }: Claimant,
  { pool, order, manual }: Claim,
  state: BlockRecord["state"],
): string =>
  formatRecord({
    version: 1,
    node,
    session,
    state,
    pool,
    order,
    ...(manual === undefined ? {} : { manual }),
  });

/** Claims a block that seems to be free. */
export function* createClaim(claimant: Claimant, claim: Claim): Steps<Proof> {
  const value = recordOf(claimant, claim, "active");
  const created = yield* write({ kind: "create", key: blockKey(claim.block), value });
  if (created.kind === "written") return { kind: "held", revision: created.revision };
  if (created.kind === "conflict") return { kind: "taken", by: "" };
  return yield* proveClaim(claimant, claim, { isWanted: true });
}

/** Finds out whether a block is ours, by writing. `isWanted`: where nobody has it, it is claimed. */
export function* proveClaim(
  claimant: Claimant,
  claim: Claim,
  { isWanted }: { readonly isWanted: boolean },
): Steps<Proof> {
  const key = blockKey(claim.block);
  const value = recordOf(claimant, claim, "active");
  let cause: unknown;
  for (let attempt = 0; attempt < mostTries; attempt++) {
    if (attempt > 0) yield* backOff(attempt, claimant.random);
    const found = yield* read({ kind: "get", key });
    if (found.kind === "uncertain") {
      ({ cause } = found);
      continue;
    }
    const [entry] = found.entries;
    if (entry === undefined && !isWanted) return { kind: "absent" };
    if (entry !== undefined) {
      const owner = readBlock(entry)?.node;
      if (owner !== claimant.node) return { kind: "taken", by: owner ?? "" };
    }
    const written = yield* write(
      entry === undefined
        ? { kind: "create", key, value }
        : { kind: "replace", entry: { ...entry, value } },
    );
    if (written.kind === "written") return { kind: "held", revision: written.revision };
    if (written.kind === "uncertain") ({ cause } = written);
  }
  return { kind: "uncertain", cause };
}

/** Whether what was held at a revision still is: for one who reads that it is another's. */
export function* verifyClaim(claimant: Claimant, claim: Claim, revision: string): Steps<Proof> {
  const entry = {
    key: blockKey(claim.block),
    value: recordOf(claimant, claim, "active"),
    revision,
  };
  const written = yield* write({ kind: "replace", entry });
  if (written.kind === "written") return { kind: "held", revision: written.revision };
  return yield* proveClaim(claimant, claim, { isWanted: true });
}

/**
 * Gives up a claim that is no longer used: up to "leaving", or altogether. False when the store did
 * not answer: then it is tried again.
 */
export function* endClaim(
  claimant: Claimant,
  claim: Claim,
  until: "leaving" | "removed",
): Steps<boolean> {
  const key = blockKey(claim.block);
  const value = recordOf(claimant, claim, "leaving");
  for (let attempt = 0; attempt < mostTries; attempt++) {
    if (attempt > 0) yield* backOff(attempt, claimant.random);
    const found = yield* read({ kind: "get", key });
    if (found.kind === "uncertain") continue;
    const [entry] = found.entries;
    const record = entry === undefined ? undefined : readBlock(entry);
    if (entry === undefined || record?.node !== claimant.node) return true;
    if (record.state === "active") {
      const marked = yield* write({ kind: "replace", entry: { ...entry, value } });
      if (marked.kind === "written" && until === "leaving") return true;
      continue;
    }
    if (until === "leaving") return true;
    const removed = yield* write({ kind: "remove", key, revision: entry.revision });
    if (removed.kind === "written") return true;
  }
  return false;
}
