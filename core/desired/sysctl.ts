import type { Family } from "../address.ts";
import { type IfName, vxlanDevice } from "../names.ts";

export interface Sysctl {
  /** Parts separated by slashes, because a device's name may have a dot in it. */
  readonly name: string;
  readonly value: string;
}

export interface SysctlInput {
  /** Families of the cluster's pod networks. */
  readonly families: ReadonlySet<Family>;
  readonly underlay: IfName;
  readonly hasVxlan: boolean;
  /** The value now; undefined where the kernel has no such setting. */
  readonly read: (name: string) => string | undefined;
}

/**
 * The kernel settings that fairlead owns, in the order to write them. Settings that this kernel does
 * not have (IPv6 switched off) are left out.
 */
export function desireSysctls({
  families,
  underlay,
  hasVxlan,
  read,
}: SysctlInput): readonly Sysctl[] {
  const devices = [underlay, ...(hasVxlan ? [vxlanDevice] : [])];
  // The first gives all devices its value. What one is given after that counts for what comes in by it,
  // and pods' interfaces start with the default's. IPv6 forwards by `all` alone.
  const wanted: Sysctl[] = [
    { name: "net/ipv4/ip_forward", value: "1" },
    ...["default", ...devices].map((device) => ({
      name: `net/ipv4/conf/${device}/forwarding`,
      value: "1",
    })),
  ];
  if (families.has(6)) {
    // A router ignores router advertisements unless told 2: a node that lives by them would lose its
    // own IPv6 route. Before forwarding, so that no advertisement is missed.
    const acceptRa = `net/ipv6/conf/${underlay}/accept_ra`;
    if (["1", "2"].includes(read(acceptRa) ?? "")) wanted.push({ name: acceptRa, value: "2" });
    wanted.push({ name: "net/ipv6/conf/all/forwarding", value: "1" });
    if (hasVxlan) wanted.push({ name: `net/ipv6/conf/${vxlanDevice}/disable_ipv6`, value: "0" });
  }
  if (hasVxlan) {
    wanted.push(
      { name: `net/ipv4/conf/${vxlanDevice}/rp_filter`, value: "0" },
      // No link-local address.
      { name: `net/ipv6/conf/${vxlanDevice}/addr_gen_mode`, value: "1" },
    );
  }
  return wanted.filter(({ name }) => read(name) !== undefined);
}

/**
 * What cannot be put right per device, as a sentence: the kernel takes the greater of the global and
 * the device's reverse path filter.
 */
export function globalRpFilterProblem(read: SysctlInput["read"]): string | undefined {
  return read("net/ipv4/conf/all/rp_filter") === "1"
    ? "net.ipv4.conf.all.rp_filter is 1 (strict), which no device can undo: asymmetric paths between nodes would be dropped; expected 0 or 2"
    : undefined;
}
