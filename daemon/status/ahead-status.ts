// What is told of queries that are kept from others' rules, and of who answers where they are not.
import type { Ip } from "../../core/address.ts";
import { objectKey, type Snapshot } from "../../core/cluster/model.ts";
import { dnsAheadMs } from "../../core/desired/dns-ahead.ts";
import type { DnsAheadStatus, OtherDnsStatus } from "../../core/status.ts";

export interface AheadState {
  /** Queries to these come here, whatever rules others have for them. */
  readonly addresses: readonly Ip[];
  /** Since when it is so, milliseconds since 1970. */
  readonly sinceMs: number;
  readonly forMs: number;
  /** Why queries are left to others; "" while all is well. */
  readonly problem: string;
}

export function aheadStatus(
  { addresses, sinceMs, problem }: AheadState,
  snapshot: Snapshot,
  configured: readonly Ip[],
): DnsAheadStatus {
  return {
    addresses,
    since: new Date(sinceMs).toISOString(),
    ...(problem !== "" && { problem }),
    others: othersWith(snapshot, configured),
  };
}

function othersWith({ services, endpointSlices }: Snapshot, addresses: readonly Ip[]) {
  const found = Array.from(services.values()).filter(({ clusterIps }) =>
    clusterIps.some((ip) => addresses.includes(ip)),
  );
  if (found.length === 0) return [];
  const slices = [...endpointSlices.values()];
  return found.map(({ namespace, name }): OtherDnsStatus => {
    const own = slices.filter((one) => one.namespace === namespace && one.serviceName === name);
    const ready = own.flatMap(({ endpoints }) => endpoints).filter(({ isReady }) => isReady);
    return { service: objectKey(namespace, name), readyEndpoints: ready.length };
  });
}

/** Problems for the status; none of a moment, as each start has. */
export const failedOpen = ({ addresses, forMs, problem }: AheadState): readonly string[] =>
  problem === "" || addresses.length > 0 || forMs < dnsAheadMs
    ? []
    : [`Queries are left to whoever else has rules for the DNS service's address: ${problem}`];
