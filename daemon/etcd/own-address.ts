// The addresses at which other nodes reach this one, where nobody has written them into a manifest.
import { cidrContains, familyOf, type Ip, parseCidr } from "../../core/address.ts";
import type { LinkAddresses } from "../../core/desired/underlay.ts";
import { type IfName, loopbackDevice } from "../../core/names.ts";
import type { InterfaceAddress } from "../../core/network.ts";

const notForOthers = ["127.0.0.0/8", "169.254.0.0/16", "::1/128", "fe80::/10"].flatMap(
  (text) => parseCidr(text) ?? [],
);

/**
 * One per family: of the interface that the configuration names, else of that which carries the address
 * from which etcd is reached, else, where etcd is on this machine, of the first interface that is up.
 * Empty: there is none.
 */
export function ownAddresses(
  wanted: "auto" | IfName,
  towardsEtcd: Ip | undefined,
  links: readonly LinkAddresses[],
): readonly Ip[] {
  const usable = links
    .filter(({ link }) => link.name !== loopbackDevice && link.isUp)
    .map(({ link, addresses }) => ({ name: link.name, ips: addresses.flatMap(forOthers) }))
    .filter(({ ips }) => ips.length > 0);
  if (wanted !== "auto") return onePerFamily(usable.find(({ name }) => name === wanted)?.ips ?? []);
  const carrier = usable.find(({ ips }) => towardsEtcd !== undefined && ips.includes(towardsEtcd));
  if (carrier === undefined || towardsEtcd === undefined) return onePerFamily(usable[0]?.ips ?? []);
  return onePerFamily([towardsEtcd, ...carrier.ips]);
}

const forOthers = ({ address }: InterfaceAddress): readonly Ip[] =>
  notForOthers.some((cidr) => cidrContains(cidr, address)) ? [] : [address];

const onePerFamily = (ips: readonly Ip[]): readonly Ip[] =>
  ips.filter((ip, at) => at === ips.findIndex((other) => familyOf(other) === familyOf(ip)));
