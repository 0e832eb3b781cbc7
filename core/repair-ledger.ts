// Repairs: how many of which kind, and the newest, of which `fairlead status` tells: what somebody else
// had done, and what was put.
import type { RepairStatus } from "./status.ts";

/** As many as an operator reads; older ones are in the log. */
const kept = 64;

/** Of objects in the kernel. */
export type RepairKind = "link" | "address" | "neighbor" | "fdb" | "route" | "nftables" | "sysctl";

export class RepairLedger {
  /** Objects put back after somebody else changed them. */
  readonly counts: Record<RepairKind, number> = {
    link: 0,
    address: 0,
    neighbor: 0,
    fdb: 0,
    route: 0,
    nftables: 0,
    sysctl: 0,
  };
  #entries: readonly RepairStatus[] = [];

  add(entries: readonly RepairStatus[]): void {
    if (entries.length > 0) this.#entries = [...this.#entries, ...entries].slice(-kept);
  }

  /** Oldest first. */
  entries(): readonly RepairStatus[] {
    return this.#entries;
  }
}
