import type { LocalPlan } from "../core/desired/plan.ts";
import type { NodeFacts } from "../core/node-facts.ts";
import type { DesiredNode } from "../core/desired/node-state.ts";
import type { Config } from "./config.ts";

/** What the plugin needs to know of this node, from what the daemon found out. */
export const nodeFactsOf = (
  { nodeName, network, dns }: Config,
  { node, underlay, mtu }: LocalPlan,
  { vxlan }: DesiredNode,
  bootId: string,
): NodeFacts => ({
  version: 1,
  nodeName,
  network: network.name,
  podCidrs: node.podCidrs,
  ...(network.ipam.reserved.length > 0 && { reserved: network.ipam.reserved }),
  nodeAddresses: underlay.addresses,
  mtu,
  ...(vxlan !== undefined && { overlayDevice: vxlan.name }),
  dns: dns.isEnabled
    ? {
        nameservers: dns.addresses,
        domain: dns.domain,
        search: [`svc.${dns.domain}`, dns.domain],
        // As kubelet has it: "db.demo" is tried below the search domains first.
        options: ["ndots:5"],
      }
    : { nameservers: [], domain: dns.domain, search: [], options: [] },
  bootId,
});
