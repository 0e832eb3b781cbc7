import type { NetConf } from "../core/cni/types.ts";
import type { Ipam, Offer, SetUsage } from "./ipam.ts";

/**
 * A range set without a free address, in every offer: while one has all its sets, some pod can be served.
 * The first offer's first.
 */
export async function fullSet(
  ipam: Ipam,
  { name }: NetConf,
  offers: readonly Offer[],
  signal: AbortSignal,
): Promise<SetUsage | undefined> {
  let first: SetUsage | undefined;
  for (const offer of offers) {
    const usage = await ipam.usage(name, offer, signal);
    const full = usage.find(({ size, held }) => BigInt(held) >= size);
    if (full === undefined) return undefined;
    first ??= full;
  }
  return first;
}
