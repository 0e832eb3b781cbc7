// One configuration's addresses: what fairlead itself and the stand-alone plugin both do with it.
import type { Ip } from "../core/address.ts";
import { ownIpamType } from "../core/cni/config.ts";
import { CniCode, CniError } from "../core/cni/error.ts";
import type { CniResult, Dns, IpamConf, NetConf } from "../core/cni/types.ts";
import type { PodName } from "../core/cni/pod-name.ts";
import { describeError } from "../core/error.ts";
import { type NodeFacts, defaultQuarantineSeconds } from "../core/node-facts.ts";
import { paths } from "../core/paths.ts";
import { vtepAddress } from "../core/pod-cidr.ts";
import { type NodePool, nodePools } from "../core/pool.ts";
import { parseResolvConf } from "../core/resolv-conf.ts";
import { readSmallFile } from "../kernel/read-small-file.ts";
import type { Ipam, Offer, ReserveRequest, Withheld } from "./ipam.ts";
import { choosePool, type PoolFacts } from "./pool.ts";
import { isDaemons, type OwnerFacts, refuseForeign } from "./foreign-range.ts";
import { canonicalSets, nodeRanges } from "./range.ts";

/** What of the node decides about addresses. */
export type RangeFacts = Pick<
  NodeFacts,
  "network" | "reserved" | "quarantineSeconds" | "isSticky"
> &
  PoolFacts &
  OwnerFacts;

type AddressConf = Pick<NetConf, "name" | "ipam">;

/**
 * The ranges that the configuration means: its own, else the node's blocks of the pod's pool. Throws
 * CniError as {@link choosePool}, and invalidConfig for a network that is not the daemon's and says
 * nothing of its addresses: the node's are taken. Ranges of the configuration's own need no facts;
 * where they are known, what is withheld is.
 */
export function offerOf(conf: AddressConf, facts: () => RangeFacts, pod?: PodName): Offer {
  const { ranges, pool: configured } = conf.ipam;
  if (ranges.length === 0) {
    const known = factsOfNetwork(conf, facts);
    return offerOfPool(choosePool(known, { pod, configured }), known);
  }
  if (configured === undefined) return ownOffer(conf, knownFacts(facts));
  throw new CniError(
    CniCode.invalidConfig,
    `Invalid ipam.pool "${configured}": expected no ranges beside it`,
  );
}

// In host-local's place, under its name, what it takes is taken.
function ownOffer({ name, ipam }: AddressConf, facts: RangeFacts | undefined): Offer {
  const { type, ranges, dataDir } = ipam;
  const offer = { ranges, withheld: withheldOf(facts) };
  if (type === ownIpamType) refuseForeign(canonicalSets(offer), { network: name, dataDir }, facts);
  return offer;
}

/** Every offer that a pod of the network may get: STATUS knows no pod. */
export function offersOf(conf: AddressConf, facts: () => RangeFacts): readonly Offer[] {
  const { ranges, pool } = conf.ipam;
  if (ranges.length > 0 || pool !== undefined) return [offerOf(conf, facts)];
  const known = factsOfNetwork(conf, facts);
  const offers = poolOffers(known);
  return offers.length === 0 ? [offerOf(conf, facts)] : offers;
}

/** The node's blocks of the pool, which is one of these facts. */
export function offerOfPool(pool: NodePool, facts: RangeFacts): Offer {
  const known = offersByFacts.get(facts) ?? new Map<string, Offer>();
  offersByFacts.set(facts, known);
  const offer = known.get(pool.name) ?? calculateOffer(pool, facts);
  known.set(pool.name, offer);
  return offer;
}

// Facts change with a pass of the daemon: until then every request gets the same.
const offersByFacts = new WeakMap<RangeFacts, Map<string, Offer>>();

const calculateOffer = ({ name, podCidrs }: NodePool, facts: RangeFacts): Offer => ({
  ranges: nodeRanges(podCidrs),
  withheld: withheldOf(facts),
  pool: name,
  // The default pool's is host-local's, with which it may share the directory.
  firstPlace: placesPerPool * (1 + (facts.pools ?? []).findIndex((pool) => pool.name === name)),
});

/** More than families, which is how many sets a pool has. */
const placesPerPool = 10;

/** Every pool of which the node has a block. */
export const poolOffers = (facts: RangeFacts): readonly Offer[] =>
  nodePools(facts.podCidrs, facts.pools ?? [])
    .filter(({ podCidrs }) => podCidrs.length > 0)
    .map((pool) => offerOfPool(pool, facts));

function factsOfNetwork({ name, ipam }: AddressConf, facts: () => RangeFacts): RangeFacts {
  const known = facts();
  const { network } = known;
  const { dataDir } = ipam;
  if (isDaemons({ network: name, dataDir }, known)) return known;
  if (name === network) {
    throw new CniError(
      CniCode.invalidConfig,
      `Invalid ipam.dataDir "${dataDir}": expected none, or ipam.ranges of the configuration's own; the ` +
        `leases of network "${network}" are in ${paths.leases}`,
    );
  }
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
    ...podCidrs.map((podCidr) => withheld(vtepAddress(podCidr), "overlay")),
  ];
}

/** `dns` of `ipam.resolvConf`. Throws CniError invalidConfig when the file cannot be read. */
export function dnsOf({ resolvConf }: IpamConf): Dns {
  if (resolvConf === undefined) return {};
  try {
    return parseResolvConf(readSmallFile(resolvConf));
  } catch (cause) {
    throw new CniError(
      CniCode.invalidConfig,
      `Invalid ipam.resolvConf "${resolvConf}": expected a regular file of at most 64 KiB that can be read`,
      { cause, details: describeError(cause) },
    );
  }
}

/**
 * How long freed addresses rest, and whether pods get theirs again: as the configuration says, else the daemon's. In host-local's place
 * (the plugin under its name) they do not, so that the order is its own.
 */
function policyOf(
  { ipam }: Pick<NetConf, "ipam">,
  facts: () => RangeFacts,
): Pick<ReserveRequest, "quarantineMs" | "isSticky"> {
  const isOurs = ipam.type === ownIpamType;
  const known = isOurs ? knownFacts(facts) : { quarantineSeconds: 0, isSticky: false };
  const seconds = known?.quarantineSeconds ?? defaultQuarantineSeconds;
  return {
    quarantineMs: 1000 * (ipam.quarantineSeconds ?? seconds),
    isSticky: ipam.isSticky ?? known?.isSticky ?? false,
  };
}

const without = (offer: Offer, used: readonly Ip[]): Offer =>
  used.length === 0
    ? offer
    : {
        ...offer,
        withheld: [...(offer.withheld ?? []), ...used.map((address) => withheld(address, "used"))],
      };

const withheld = (address: Ip, reason: Withheld["reason"]): Withheld => ({
  first: address,
  last: address,
  reason,
});

export interface AssignRequest extends Pick<ReserveRequest, "key" | "sandbox" | "pod"> {
  readonly conf: NetConf;
  readonly ipam: Ipam;
  readonly facts: () => RangeFacts;
  /** What the node is known to have in use, whatever the leases say. */
  readonly used?: readonly Ip[];
}

/** An IPAM plugin's result: addresses, routes, DNS. What can be refused is, before anything is held. */
export async function assign(
  { conf, ipam, facts, used = [], ...attachment }: AssignRequest,
  signal: AbortSignal,
): Promise<CniResult> {
  const { requestedIps, routes, dataDir } = conf.ipam;
  const dns = dnsOf(conf.ipam);
  const offer = without(offerOf(conf, facts, attachment.pod), used);
  const request = { ...attachment, ...offer, ...policyOf(conf, facts), requestedIps };
  const ips = await ipam.at(dataDir).reserve(request, signal);
  return { interfaces: [], ips, routes, dns };
}
