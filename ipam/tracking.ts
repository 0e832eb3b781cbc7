import type { Ip } from "../core/address.ts";

/** How an address whose rest is over is looked for in connection tracking; otherwise it is not. */
export interface Tracking {
  /** Those of the addresses that it has something of. Takes 10 ms and more. */
  readonly trackedAmong: (addresses: readonly Ip[]) => ReadonlySet<Ip>;
  /**
   * `range is full`: by the request that needs one, in a process that lives for one. `asked to`: by
   * `Ipam.proveRested()`, so that no request has to.
   */
  readonly when: "range is full" | "asked to";
}
