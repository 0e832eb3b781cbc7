import type {
  AttachmentRequest,
  CniInterface,
  CniResult,
  Dns,
  NetConf,
} from "../core/cni/types.ts";
import { resultFamily } from "../core/cni/version.ts";
import type { AttachmentKey } from "../core/names.ts";
import type { NodeFacts } from "../core/node-facts.ts";
import { isDnsLabel } from "../core/schema.ts";
import { familyOf, parseInterfaceCidr } from "../core/address.ts";
import { invariant } from "../core/assert.ts";
import { type Wiring, nextHop, podRoutes, wire } from "./wiring.ts";

/** The ADD's answer: the host interface, the pod's, and what the pod interface carries. */
export function resultOf(key: AttachmentKey, netns: string, wiring: Wiring, dns: Dns): CniResult {
  const { mtu } = wiring;
  const { host, pod } = wire(key, wiring);
  return {
    interfaces: [
      { name: host.device, mac: host.mac, mtu },
      { name: key.ifName, mac: pod.mac, mtu, sandbox: netns },
    ],
    ips: pod.addresses.map(({ address, prefixLength }) => ({
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
 * The result after other plugins of a chain: theirs, with ours behind it. 0.2.0 has room for one address
 * per family, and there ours comes first: it is that of the interface that the runtime asked for.
 */
export function afterPrevious({ prevResult, cniVersion }: NetConf, ours: CniResult): CniResult {
  if (prevResult === undefined) return ours;
  const shift = prevResult.interfaces.length;
  const ips = ours.ips.map((ip) =>
    ip.interface === undefined ? ip : { ...ip, interface: ip.interface + shift },
  );
  const first = resultFamily(cniVersion) === "0.2";
  return {
    interfaces: [...prevResult.interfaces, ...ours.interfaces],
    ips: first ? [...ips, ...prevResult.ips] : [...prevResult.ips, ...ips],
    routes: [...prevResult.routes, ...ours.routes],
    dns: Object.keys(ours.dns).length > 0 ? ours.dns : prevResult.dns,
  };
}

/** The entry of the pod's interface; undefined when the result has none. */
export const podInterfaceOf = (
  { interfaces }: CniResult,
  { ifName }: AttachmentKey,
): CniInterface | undefined =>
  interfaces.find(({ name, sandbox = "" }) => name === ifName && sandbox !== "");

/**
 * The pod's resolver: what the runtime says, else the configuration, else its IPAM plugin, else the
 * node, each for all of it. The node's has the search path of the pod's namespace in front, where the
 * runtime told it, and its network's behind.
 */
export function podDns(request: AttachmentRequest, facts: NodeFacts, ipamDns?: Dns): Dns {
  const { runtimeDns, dns = {} } = request.conf;
  if (runtimeDns !== undefined) return runtimeDns;
  if (Object.keys(dns).length > 0) return dns;
  if (ipamDns !== undefined) return ipamDns;
  const { nameservers, domain, search, options } = facts.dns;
  if (nameservers.length === 0) return {};
  const namespace = request.args.get("K8S_POD_NAMESPACE") ?? "";
  // The runtime's own word, which nobody has checked.
  const own = !isDnsLabel(namespace) || domain === "" ? [] : [`${namespace}.svc.${domain}`];
  // Pods that nothing but their network names find one another by it.
  const network = domain === "" ? [] : [`${request.key.network}.${domain}`];
  return { nameservers, search: [...own, ...search, ...network], options };
}
