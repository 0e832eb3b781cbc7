// One configuration's addresses: what fairlead itself and the stand-alone plugin both do with it.
import { readFileSync } from "node:fs";
import { CniCode, CniError } from "../core/cni/error.ts";
import type { CniResult, Dns, IpamConf, NetConf } from "../core/cni/types.ts";
import { describeError } from "../core/error.ts";
import type { AttachmentKey } from "../core/names.ts";
import type { NodeFacts } from "../core/node-facts.ts";
import { vtepAddress } from "../core/pod-cidr.ts";
import { parseResolvConf } from "../core/resolv-conf.ts";
import type { Ipam, Offer, Withheld } from "./ipam.ts";
import { nodeRanges } from "./range.ts";

/** What of the node decides about addresses. */
export type RangeFacts = Pick<NodeFacts, "network" | "podCidrs" | "reserved">;

/**
 * The ranges that the configuration means: its own, else the node's. Throws CniError invalidConfig
 * for a network that is not the daemon's and says nothing of its addresses: the node's are taken.
 * Ranges of the configuration's own need no facts; where they are known, what is withheld is.
 */
export function offerOf(
  { name, ipam }: Pick<NetConf, "name" | "ipam">,
  facts: () => RangeFacts,
): Offer {
  if (ipam.ranges.length > 0) {
    return { ranges: ipam.ranges, withheld: withheldOf(knownFacts(facts)) };
  }
  const known = facts();
  const { network, podCidrs } = known;
  if (name === network) return { ranges: nodeRanges(podCidrs), withheld: withheldOf(known) };
  throw new CniError(
    CniCode.invalidConfig,
    `Invalid name "${name}": expected the daemon's network "${network}", ` +
      `or ranges of the network's own in ipam.ranges`,
  );
}

function knownFacts(facts: () => RangeFacts): RangeFacts | undefined {
  try {
    return facts();
  } catch (error) {
    if (error instanceof CniError) return undefined;
    throw error;
  }
}

function withheldOf(facts: RangeFacts | undefined): readonly Withheld[] {
  if (facts === undefined) return [];
  const { podCidrs, reserved = [] } = facts;
  return [
    ...reserved.map((span) => ({ ...span, reason: "reserved" as const })),
    ...podCidrs.map(vtepAddress).map((address) => ({
      first: address,
      last: address,
      reason: "overlay" as const,
    })),
  ];
}

/** `dns` of `ipam.resolvConf`. Throws CniError invalidConfig when the file cannot be read. */
export function dnsOf({ resolvConf }: IpamConf): Dns {
  if (resolvConf === undefined) return {};
  try {
    return parseResolvConf(readFileSync(resolvConf, "utf8"));
  } catch (cause) {
    throw new CniError(
      CniCode.invalidConfig,
      `Invalid ipam.resolvConf "${resolvConf}": expected a file that can be read`,
      { cause, details: describeError(cause) },
    );
  }
}

export interface AssignRequest {
  readonly key: AttachmentKey;
  readonly conf: NetConf;
  readonly ipam: Ipam;
  readonly facts: () => RangeFacts;
}

/** An IPAM plugin's result: addresses, routes, DNS. What can be refused is, before anything is held. */
export async function assign(
  { key, conf, ipam, facts }: AssignRequest,
  signal: AbortSignal,
): Promise<CniResult> {
  const { requestedIps, routes, dataDir } = conf.ipam;
  const dns = dnsOf(conf.ipam);
  const offer = offerOf(conf, facts);
  const ips = await ipam.at(dataDir).reserve({ key, ...offer, requestedIps }, signal);
  return { interfaces: [], ips, routes, dns };
}
