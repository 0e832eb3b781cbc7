// The stand-alone IPAM plugin's answer to each verb, as host-local gives it, and GC and STATUS besides.
import { familyOf } from "../core/address.ts";
import { CniCode, CniError } from "../core/cni/error.ts";
import { podNameOf } from "../core/cni/pod-name.ts";
import type { AttachmentRequest, CniHandlers, NetConf } from "../core/cni/types.ts";
import { KernelError, describeError } from "../core/error.ts";
import type { Log } from "../core/log.ts";
import { openNamespace } from "../kernel/netns.ts";
import { type RangeFacts, assign, dnsOf, offersOf } from "./assign.ts";
import { fullSet } from "./full-set.ts";
import type { Ipam } from "./ipam.ts";
import type { SandboxName } from "./journal-event.ts";
import { validityOf } from "./lease.ts";

export interface IpamContext {
  readonly ipam: Ipam;
  /** Asked only for a configuration without ranges. Throws CniError while nothing is known. */
  readonly facts: () => RangeFacts;
  readonly log: Log;
}

/** Handlers for `fairlead-ipam`, in its own process or in the daemon. */
export function createIpamHandlers({ ipam, facts, log }: IpamContext): CniHandlers {
  const leasesOf = ({ ipam: { dataDir } }: NetConf): Ipam => ipam.at(dataDir);
  return {
    add: async (request, signal) => {
      const { key, conf, args } = request;
      refuseSecondOfFamily(conf);
      const [sandbox, pod] = [sandboxOf(request), podNameOf(args)];
      const whom = { key, ...(sandbox && { sandbox }), ...(pod && { pod }) };
      return assign({ ...whom, conf, ipam, facts }, signal);
    },
    del: async ({ key, conf }, signal) => {
      await leasesOf(conf).release(key, signal);
    },
    check: async (request, signal) => requireLease(leasesOf(request.conf), request, signal),
    gc: async ({ conf }, signal) => {
      if (conf.validAttachments === undefined) {
        log.warn({ network: conf.name }, "GC names no valid attachments: nothing is freed");
        return;
      }
      const isValid = validityOf(conf.validAttachments);
      const freed = await leasesOf(conf).collect(conf.name, isValid, signal);
      if (freed.length > 0) log.info({ network: conf.name, freed }, "GC freed leases");
    },
    status: async ({ conf }, signal) => {
      try {
        await requireFreeAddresses(leasesOf(conf), conf, { facts, signal });
      } catch (cause) {
        // Whatever stands in the way of ADD is this one code (specification 1.1.0, "STATUS").
        throw new CniError(CniCode.notAvailable, describeError(cause), { cause });
      }
    },
  };
}

// What host-local never asks for. A path that names no namespace says nothing of the sandbox.
function sandboxOf({ netns, netnsFile }: AttachmentRequest): SandboxName | undefined {
  try {
    using namespace = openNamespace(netnsFile ?? netns);
    return { ...namespace.identity, path: netns };
  } catch (thrown) {
    if (thrown instanceof KernelError) return undefined;
    throw thrown;
  }
}

// As host-local: its result before 0.3.0 has one address per family, so a second would be lost.
function refuseSecondOfFamily({ cniVersion, ipam }: NetConf): void {
  if (cniVersion !== "0.1.0" && cniVersion !== "0.2.0") return;
  const families = ipam.ranges.flatMap(([first]) => (first ? [familyOf(first.subnet)] : []));
  const twice = families.find((family, index) => families.indexOf(family) < index);
  if (twice === undefined) return;
  throw new CniError(
    CniCode.invalidConfig,
    `Cannot answer in CNI version ${cniVersion}, which has one address per family: ` +
      `several range sets are IPv${twice}`,
  );
}

async function requireLease(
  ipam: Ipam,
  { key }: AttachmentRequest,
  signal: AbortSignal,
): Promise<void> {
  const isTheirs = validityOf([key]);
  if ((await ipam.leases(key.network, signal)).some(isTheirs)) return;
  throw new CniError(
    CniCode.checkFailed,
    `Cannot find an address of container "${key.containerId}" for "${key.ifName}" ` +
      `in network "${key.network}"`,
  );
}

async function requireFreeAddresses(
  ipam: Ipam,
  conf: NetConf,
  { facts, signal }: { readonly facts: () => RangeFacts; readonly signal: AbortSignal },
): Promise<void> {
  dnsOf(conf.ipam);
  const full = await fullSet(ipam, conf, offersOf(conf, facts), signal);
  if (full === undefined) return;
  throw new CniError(
    CniCode.addressesExhausted,
    `No address is left in network "${conf.name}": ${full.held} of ${full.size} are held ` +
      `in ${full.ranges}`,
  );
}
