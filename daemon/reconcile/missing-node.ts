import { type Ip, isIpv4 } from "../../core/address.ts";
import type { Membership } from "../../core/cluster/membership.ts";
import type { LinkAddresses } from "../../core/desired/underlay.ts";
import { loopbackDevice } from "../../core/names.ts";
import { type NodeBlocks, assignNodeBlocks, describeExhaustion } from "../../ipam/node-blocks.ts";
import type { NetworkConfig } from "../config/config.ts";
import type { Source } from "../source/source.ts";

export interface MissingNodeInput {
  readonly nodeName: string;
  readonly network: NetworkConfig;
  readonly source: Pick<Source, "kind" | "location">;
  readonly membership: Membership;
  readonly links: readonly LinkAddresses[];
}

/** What to write where, so that the cluster has this node: a manifest that would do as it is. */
export function hintAtMissingNode(input: MissingNodeInput): string {
  const { nodeName, source, membership } = input;
  const names = [...membership.nodes.keys()].sort();
  const known = names.length === 0 ? "no node" : names.slice(0, 5).join(", ");
  const more = names.length > 5 ? ` and ${names.length - 5} more` : "";
  const found = `Cannot find Node ${nodeName} in ${source.location}, which has ${known}${more}`;
  if (source.kind === "kubernetes") {
    return `${found}: expected nodeName to be the name under which the machine's kubelet registers, and the kubelet to run`;
  }
  if (source.kind === "etcd") return `${found}: this daemon adds it when etcd lets it`;
  const free = freeBlocks(input);
  const lack = free.kind === "exhausted" ? `. ${describeExhaustion(free)}` : "";
  const manifest = manifestFor(input, free);
  return `${found}: expected a manifest such as ${manifest}, which ${commandFor(input)} writes${lack}`;
}

const commandFor = ({ nodeName, links }: MissingNodeInput): string =>
  `\`fairlead ipam assign --add-node ${nodeName} --address ${likelyAddress(links) ?? "ADDRESS"}\``;

function freeBlocks({ network, membership }: MissingNodeInput): NodeBlocks {
  const taken = [...membership.nodes.values()].flatMap(({ podCidrs }) => podCidrs);
  const plan = { clusterCidrs: network.podCidrs, nodePrefixLength: network.nodePrefixLength };
  return assignNodeBlocks(plan, taken);
}

function manifestFor({ nodeName, links }: MissingNodeInput, free: NodeBlocks): string {
  const podCidrs = free.kind === "assigned" ? free.blocks : ["POD-CIDR"];
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: nodeName },
    spec: { podCIDRs: podCidrs },
    status: { addresses: [{ type: "InternalIP", address: likelyAddress(links) ?? "ADDRESS" }] },
  });
}

const likelyAddress = (links: readonly LinkAddresses[]): Ip | undefined =>
  links
    .filter(({ link }) => link.name !== loopbackDevice && link.isUp)
    .flatMap(({ addresses }) => addresses.map(({ address }) => address))
    .find(isIpv4);
