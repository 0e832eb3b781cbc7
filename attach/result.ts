import type { AttachmentRequest, CniResult, Dns } from "../core/cni/types.ts";
import { type AttachmentKey, attachmentMacs, hostInterfaceName } from "../core/names.ts";
import type { NodeFacts } from "../core/node-facts.ts";
import { familyOf, parseInterfaceCidr } from "../core/address.ts";
import { invariant } from "../core/assert.ts";
import { type Wiring, nextHop, podRoutes, wire } from "./wiring.ts";

/** The ADD's answer: the host interface, the pod's, and what the pod interface carries. */
export function resultOf(key: AttachmentKey, netns: string, wiring: Wiring, dns: Dns): CniResult {
  const macs = attachmentMacs(key);
  const { mtu } = wiring;
  return {
    interfaces: [
      { name: hostInterfaceName(key), mac: macs.host, mtu },
      { name: key.ifName, mac: macs.pod, mtu, sandbox: netns },
    ],
    ips: wire(key, wiring).pod.addresses.map(({ address, prefixLength }) => ({
      address: { address, prefixLength },
      gateway: nextHop[familyOf(address)],
      interface: 1,
    })),
    routes: podRoutes(key, wiring).map(({ destination, metric, table }) => {
      const dst = parseInterfaceCidr(destination);
      invariant(dst !== undefined, `"${destination}" is a network`);
      return {
        dst,
        gw: nextHop[familyOf(destination)],
        ...(metric !== undefined && { priority: metric }),
        ...(table !== undefined && { table }),
      };
    }),
    dns,
  };
}

/**
 * The pod's resolver: what the configuration says, else its IPAM plugin, else the node, with the
 * search path of the pod's namespace in front where the runtime told it.
 */
export function podDns(request: AttachmentRequest, facts: NodeFacts, ipamDns?: Dns): Dns {
  const { dns = {} } = request.conf;
  if (Object.keys(dns).length > 0) return dns;
  if (ipamDns !== undefined) return ipamDns;
  const { nameservers, domain, search, options } = facts.dns;
  if (nameservers.length === 0) return {};
  const namespace = request.args.get("K8S_POD_NAMESPACE") ?? "";
  const own = namespace === "" || domain === "" ? [] : [`${namespace}.svc.${domain}`];
  return { nameservers, search: [...own, ...search], options };
}
