// What flannel says of a node: /run/flannel/subnet.env, as its CNI plugin reads it.
import { type Cidr, cidrOf, parseInterfaceCidr } from "./address.ts";

export interface FlannelSubnets {
  /** The cluster's: FLANNEL_NETWORK and FLANNEL_IPV6_NETWORK. */
  readonly networks: readonly Cidr[];
  /** This node's: FLANNEL_SUBNET and FLANNEL_IPV6_SUBNET, whose address is the bridge's. */
  readonly subnets: readonly Cidr[];
}

/** Unknown lines are skipped, as flannel does. Throws naming a value that is no network. */
export function parseSubnetEnv(text: string): FlannelSubnets {
  const values = new Map(
    text.split("\n").flatMap((line): [string, string][] => {
      const cut = line.indexOf("=");
      return cut > 0 ? [[line.slice(0, cut).trim(), line.slice(cut + 1).trim()]] : [];
    }),
  );
  const read = (...keys: readonly string[]): readonly Cidr[] =>
    keys.flatMap((key) =>
      (values.get(key) ?? "")
        .split(",")
        .filter((part) => part.trim() !== "")
        .map((part) => parseNetwork(key, part.trim())),
    );
  return {
    networks: read("FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"),
    subnets: read("FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"),
  };
}

function parseNetwork(key: string, text: string): Cidr {
  const parsed = parseInterfaceCidr(text);
  if (parsed !== undefined) return cidrOf(parsed.address, parsed.prefixLength);
  throw new Error(`Cannot use ${key} "${text}": expected an address with a prefix length`);
}
