// Another network's leases taken over into ours: planned first, then written under both locks.
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { type Ip, ipToBigInt } from "../core/address.ts";
import type { AdoptedLease } from "../core/adopted-lease.ts";
import type { BootClock, Clock } from "../core/clock.ts";
import { openLock } from "../kernel/flock.ts";
import type { FileLock } from "../kernel/kernel.ts";
import { leaseKey, readAdopted, writeAdopted } from "./adopted.ts";
import { type DirectoryContent, LeaseDirectory } from "./directory.ts";
import { readOnly } from "./inspect.ts";
import { type Owner, formatOwner } from "./lease.ts";
import { type RangeSet, exclusionOf, formatSet, rangeOf } from "./range.ts";

export interface AdoptionRequest {
  /** Ours: its name, and its directory. */
  readonly network: string;
  readonly directory: string;
  /** Directories of the networks that are taken over. */
  readonly origins: readonly string[];
  /** Our ranges on this node, of all pools. */
  readonly sets: readonly RangeSet[];
  /** `/var/lib/fairlead/adopted.json` */
  readonly adoptedPath: string;
  readonly isDryRun: boolean;
}

export interface AdoptionClocks {
  readonly clock: Clock;
  readonly boot: BootClock;
}

export type AdoptionOutcome =
  | { readonly kind: "adopted" }
  /** It was before. */
  | { readonly kind: "held" }
  | { readonly kind: "refused"; readonly reason: string };

export interface AdoptionItem {
  readonly address: Ip;
  /** Absent: the file says nobody's. */
  readonly owner?: Owner;
  readonly origin: string;
  readonly outcome: AdoptionOutcome;
}

const lockDeadlineMs = 5000;
const unread = { seen: () => undefined, known: () => undefined };

/**
 * Each lease of the origins with what became of it. Nothing is taken from them: their plugin still
 * answers for its pods, and frees its own file when one ends. Repeated, it does what is left to do.
 */
export async function adoptLeases(
  request: AdoptionRequest,
  { clock, boot }: AdoptionClocks,
  signal: AbortSignal,
): Promise<readonly AdoptionItem[]> {
  const { directory: path, isDryRun, adoptedPath, network } = request;
  const target = new LeaseDirectory(path, clock, isDryRun ? readOnly : undefined);
  if (!isDryRun) target.ensure();
  const lockOf = async (directory: string): Promise<FileLock | undefined> => {
    const lock = join(directory, "lock");
    if (!existsSync(lock)) return undefined;
    return openLock(lock, "exclusive", { deadlineMs: lockDeadlineMs, clock, signal });
  };
  using _target = await lockOf(path);
  const held = new Map(
    target.exists() ? target.read(unread).entries.map(([ip, { owner }]) => [ip, owner]) : [],
  );
  const items: AdoptionItem[] = [];
  for (const origin of request.origins) {
    using _origin = await lockOf(origin);
    const from = new LeaseDirectory(origin, clock, readOnly).read(unread);
    const found = planOrigin(origin, from, { held, sets: request.sets });
    items.push(...found);
    for (const { address, owner, outcome } of found) {
      if (outcome.kind === "adopted") held.set(address, owner);
    }
    if (isDryRun) continue;
    const fresh = found.flatMap(({ address, owner, outcome }): AdoptedLease[] =>
      owner === undefined || outcome.kind === "refused"
        ? []
        : [{ address, ...owner, network, origin, bootId: boot.bootId }],
    );
    // Known before they are held: so none is ever held of which nobody knows that it must be kept.
    remember(adoptedPath, fresh);
    for (const lease of found) write(target, lease);
    carryPosition(target, from, request.sets);
  }
  return items;
}

function planOrigin(
  origin: string,
  { entries, reclaimed }: DirectoryContent,
  {
    held,
    sets,
  }: { readonly held: ReadonlyMap<Ip, Owner | undefined>; readonly sets: readonly RangeSet[] },
): readonly AdoptionItem[] {
  const torn = reclaimed.map((address): AdoptionItem => {
    const reason = "its file is empty or torn";
    return { address, origin, outcome: { kind: "refused", reason } };
  });
  const whole = entries.map(([address, { owner }]): AdoptionItem => {
    if (owner === undefined) {
      const reason = "its file cannot be read";
      return { address, origin, outcome: { kind: "refused", reason } };
    }
    return { address, owner, origin, outcome: judge(address, owner, { held, sets }) };
  });
  return [...whole, ...torn];
}

function judge(
  address: Ip,
  owner: Owner,
  {
    held,
    sets,
  }: { readonly held: ReadonlyMap<Ip, Owner | undefined>; readonly sets: readonly RangeSet[] },
): AdoptionOutcome {
  const range = sets.flat().find((one) => rangeOf([one], address) !== undefined);
  if (range === undefined) {
    const blocks = sets.map(formatSet).join(", ");
    return { kind: "refused", reason: `it is outside this node's blocks: ${blocks}` };
  }
  if (exclusionOf(range, ipToBigInt(address))?.reason === "overlay") {
    return { kind: "refused", reason: "it is that of the VXLAN device" };
  }
  if (!held.has(address)) return { kind: "adopted" };
  const holder = held.get(address);
  if (holder !== undefined && formatOwner(holder) === formatOwner(owner)) return { kind: "held" };
  const name =
    holder === undefined ? "a file that cannot be read" : `container "${holder.containerId}"`;
  return { kind: "refused", reason: `${name} holds it already` };
}

function remember(path: string, fresh: readonly AdoptedLease[]): void {
  if (fresh.length === 0) return;
  const all = new Map([...readAdopted(path), ...fresh].map((lease) => [leaseKey(lease), lease]));
  writeAdopted(path, [...all.values()]);
}

function write(target: LeaseDirectory, { address, owner, outcome }: AdoptionItem): void {
  if (owner === undefined || outcome.kind !== "adopted") return;
  const isNew = target.withOwnerFile(owner, ({ giveName }) => giveName(address));
  if (!isNew) throw new Error(`Cannot adopt ${address}: its file appeared without the lock`);
}

// The round robin goes on where the other stood, so that what was freed there is not given first.
function carryPosition(
  target: LeaseDirectory,
  { lastReserved }: DirectoryContent,
  sets: readonly RangeSet[],
): void {
  const known = new Set(readdirSync(target.path));
  for (const last of lastReserved.values()) {
    const place = sets.find((set) => rangeOf(set, last) !== undefined)?.[0]?.place;
    if (place !== undefined && !known.has(`last_reserved_ip.${place}`)) {
      target.recordLast(place, last);
    }
  }
}
