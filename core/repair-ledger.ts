// The newest repairs, of which `fairlead status` tells: what somebody else had done, and what was put.
import type { RepairStatus } from "./status.ts";

/** As many as an operator reads; older ones are in the log. */
const kept = 64;

export class RepairLedger {
  #entries: readonly RepairStatus[] = [];

  add(entries: readonly RepairStatus[]): void {
    if (entries.length > 0) this.#entries = [...this.#entries, ...entries].slice(-kept);
  }

  /** Oldest first. */
  entries(): readonly RepairStatus[] {
    return this.#entries;
  }
}
