// A Node that `fairlead ipam assign` is to add: what the cluster's nodes would refuse is refused before it
// is written, for a manifest that cannot be used keeps every other one in its file, and every later assign, out.
import * as v from "valibot";
import { cidrContains, familyOf, type Ip, parseCidr } from "../../core/address.ts";
import type { Node } from "../../core/cluster/model.ts";
import { hostIpSchema, isDnsName } from "../../core/schema.ts";
import { type Config, podNetworks } from "../../daemon/config/config.ts";
import { UsageError } from "../context.ts";

export interface NewNodeOptions {
  readonly node?: string;
  readonly addNode?: string;
  readonly address: readonly string[];
}

/** Throws UsageError; undefined: none is to be added. */
export function parseNewNode({ addNode: name, address, node }: NewNodeOptions): Node | undefined {
  if (name === undefined) {
    if (address.length > 0) throw new UsageError("Cannot use --address without --add-node");
    return undefined;
  }
  if (node !== undefined) throw new UsageError("Cannot use --node and --add-node together");
  if (!isDnsName(name)) {
    throw new UsageError(
      `Cannot use --add-node "${name}": expected a name of lower-case letters, digits, - and .`,
    );
  }
  const addresses = address.map(parseNodeAddress);
  if (addresses.length === 0 || new Set(addresses.map(familyOf)).size < addresses.length) {
    throw new UsageError("Cannot add a Node without --address: expected up to one of each family");
  }
  return { name, addresses, podCidrs: [] };
}

const linkLocal6 = parseCidr("fe80::/10");

function parseNodeAddress(text: string): Ip {
  const parsed = v.safeParse(hostIpSchema, text);
  if (!parsed.success) {
    const [{ message }] = parsed.issues;
    throw new UsageError(`Cannot use --address "${text}": expected ${message}`);
  }
  // Without the link it is of, no other node can send to it.
  if (linkLocal6 !== undefined && cidrContains(linkLocal6, parsed.output)) {
    throw new UsageError(
      `Cannot use --address "${text}": expected an address outside ${linkLocal6}, which is link-local`,
    );
  }
  return parsed.output;
}

/** Throws UsageError for an address that the network's configuration gives to others than nodes. */
export function refuseConfigured(
  { addresses }: Node,
  { network, dns }: Pick<Config, "network" | "dns">,
): void {
  for (const address of addresses) {
    const around = [...podNetworks(network), ...network.serviceCidrs].find((cidr) =>
      cidrContains(cidr, address),
    );
    const where =
      around === undefined
        ? dns.addresses.includes(address) && "it is one of dns.addresses"
        : `it is in ${around}, of which pods and services have their addresses`;
    if (where === false) continue;
    throw new UsageError(`Cannot use --address "${address}": ${where}; expected the machine's own`);
  }
}
