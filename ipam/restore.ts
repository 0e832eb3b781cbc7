// A lease whose file was lost, by hand or by a torn write, while its attachment lives: written again.
import type { LeaseDirectory } from "./directory.ts";
import type { Lease, LostLease, Restoration, TakenAddress } from "./ipam.ts";
import { type Clocks, momentOf } from "./lease-memory.ts";
import type { LeaseNotes } from "./lease-notes.ts";
import { type Owner, validityOf } from "./lease.ts";

interface RestoreParts {
  readonly directory: LeaseDirectory;
  readonly notes: LeaseNotes;
  readonly clocks: Clocks;
}

/**
 * With the network's lock held; `leases` are all it has. The ranges are not asked: the pod has its
 * addresses, whatever they are of by now. The round robin stays where it is.
 */
export function restoreLease(
  { key, addresses, sandbox, pod }: LostLease,
  leases: readonly Lease[],
  { directory, notes, clocks }: RestoreParts,
): Restoration {
  const owner: Owner = { containerId: key.containerId, ifName: key.ifName };
  const isOwn = validityOf([owner]);
  const holders = new Map(leases.map((lease) => [lease.address, lease]));
  const lost = addresses.filter((address) => !holders.has(address));
  const taken = addresses.flatMap((address): TakenAddress[] => {
    const holder = holders.get(address);
    return holder === undefined || isOwn(holder) ? [] : [{ address, holder }];
  });
  if (lost.length === 0) return { restored: [], taken };
  return directory.withOwnerFile(owner, ({ stamp, giveName }) => {
    const given = momentOf(clocks);
    const details = { owner, stamp, given, ...(sandbox && { sandbox }), ...(pod && { pod }) };
    notes.given(lost, details);
    // Whoever keeps the network in memory sees that the directory has changed, and reads the line.
    notes.forget();
    const restored = lost.filter(giveName);
    const unreadable = lost.filter((address) => !restored.includes(address));
    return { restored, taken: [...taken, ...unreadable.map((address) => ({ address }))] };
  });
}
