import { type Cidr, type Family, cidrContains, cidrOf, familyOf, type Ip } from "../address.ts";
import { type IfName, interfacePrefix, isPodHostInterface } from "../names.ts";
import type { InterfaceAddress, Link } from "../network.ts";

/** The device and the addresses over which this node and its peers reach each other. */
export interface Underlay {
  readonly device: IfName;
  readonly index: number;
  /** Octets. */
  readonly mtu: number;
  /** This node's own, at most one per family, in the order of its Node object. */
  readonly addresses: readonly Ip[];
  /** What is on the link, by the prefixes of the device's addresses. */
  readonly networks: readonly Cidr[];
}

/** A link with the addresses it carries. */
export interface LinkAddresses {
  readonly link: Link;
  readonly addresses: readonly InterfaceAddress[];
}

export type UnderlayChoice =
  | { readonly kind: "found"; readonly underlay: Underlay }
  /** `problem` names what was looked for, and what there is. */
  | { readonly kind: "missing"; readonly problem: string };

/** False for what fairlead itself made: nothing of ours carries the underlay. */
export const isUnderlayCandidate = (link: Link): boolean =>
  !link.name.startsWith(`${interfacePrefix}-`) && !isPodHostInterface(link.name);

/**
 * The interface that carries an address of the local Node object, or the one that the configuration
 * names. The address of the Node object is what peers send to, so it decides.
 * @param nodeAddresses of the local Node object.
 */
export function chooseUnderlay(
  wanted: "auto" | IfName,
  nodeAddresses: readonly Ip[],
  candidates: readonly LinkAddresses[],
): UnderlayChoice {
  if (nodeAddresses.length === 0) {
    return { kind: "missing", problem: "Cannot choose an interface: this Node has no InternalIP" };
  }
  const chosen =
    wanted === "auto"
      ? candidates.find(({ addresses }) => owned(nodeAddresses, addresses).length > 0)
      : candidates.find(({ link }) => link.name === wanted);
  if (chosen === undefined) {
    const problem =
      wanted === "auto"
        ? `Cannot find an interface with address ${nodeAddresses.join(" or ")} of this Node: there are ${describe(candidates)}`
        : `Cannot find the interface "${wanted}" of network.interface: there are ${describe(candidates)}`;
    return { kind: "missing", problem };
  }
  const { link, addresses } = chosen;
  const own = owned(nodeAddresses, addresses);
  if (own.length === 0) {
    const problem = `Cannot use the interface "${link.name}" of network.interface: it lacks address ${nodeAddresses.join(" or ")} of this Node`;
    return { kind: "missing", problem };
  }
  if (!link.isUp) {
    return { kind: "missing", problem: `Cannot use the interface "${link.name}": it is down` };
  }
  const networks = addresses.map(({ address, prefixLength }) => cidrOf(address, prefixLength));
  const { name: device, index, mtu } = link;
  return { kind: "found", underlay: { device, index, mtu, addresses: own, networks } };
}

const owned = (wanted: readonly Ip[], carried: readonly InterfaceAddress[]): readonly Ip[] =>
  wanted.filter((address) => carried.some((own) => own.address === address));

function describe(candidates: readonly LinkAddresses[]): string {
  const texts = candidates.flatMap(({ link, addresses }) =>
    addresses.map(({ address, prefixLength }) => `${link.name} ${address}/${prefixLength}`),
  );
  return texts.length === 0 ? "none with an address" : texts.slice(0, 8).join(", ");
}

export const isSameUnderlay = (a: Underlay, b: Underlay): boolean =>
  a.device === b.device &&
  a.index === b.index &&
  a.mtu === b.mtu &&
  a.addresses.join() === b.addresses.join() &&
  a.networks.join() === b.networks.join();

/** True when packets to the address need no router. */
export const isOnLink = ({ networks }: Underlay, address: Ip): boolean =>
  networks.some((network) => cidrContains(network, address));

export const addressOf = (addresses: readonly Ip[], family: Family): Ip | undefined =>
  addresses.find((address) => familyOf(address) === family);
