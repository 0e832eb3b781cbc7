// Leases that another network's pods brought along: their pods live on under the plugin that made them,
// whose DEL frees the lease in its own directory. Until then nobody may free ours.
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import {
  type AdoptedLease,
  formatAdoptedLeases,
  parseAdoptedLeases,
} from "../core/adopted-lease.ts";
import { hasErrno } from "../core/error.ts";
import { type Owner, formatOwner, parseOwner } from "./lease.ts";
import type { Lease } from "./ipam.ts";

/** None where there is no file. Throws ConfigError for one that cannot be read: nothing is freed then. */
export function readAdopted(path: string): readonly AdoptedLease[] {
  let text: string;
  try {
    text = fs.readFileSync(path, "utf8");
  } catch (cause) {
    if (hasErrno(cause, "ENOENT", "ENOTDIR")) return [];
    throw cause;
  }
  return parseAdoptedLeases(text, path);
}

/** By rename; synced, because what is lost here could be freed under a living pod. */
export function writeAdopted(path: string, leases: readonly AdoptedLease[]): void {
  if (leases.length === 0) {
    fs.rmSync(path, { force: true });
    return;
  }
  fs.mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  const temporary = `${path}.tmp`;
  fs.writeFileSync(temporary, formatAdoptedLeases(leases), { mode: 0o600, flush: true });
  fs.renameSync(temporary, path);
}

/** Whether the first network still has the lease, in the boot in which it was adopted. */
export function isStillHeld(lease: AdoptedLease, bootId: string): boolean {
  if (lease.bootId !== bootId) return false;
  try {
    const owner = parseOwner(fs.readFileSync(join(lease.origin, lease.address), "utf8"));
    return owner !== undefined && formatOwner(owner) === formatOwner(lease);
  } catch (cause) {
    // Any other failure says nothing of the pod.
    return !hasErrno(cause, "ENOENT", "ENOTDIR");
  }
}

/** One lease, whoever says so. */
export const leaseKey = (lease: Owner & Pick<Lease, "address">): string =>
  `${lease.address} ${formatOwner(lease)}`;
