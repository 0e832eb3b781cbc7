import { ownIpamType } from "../core/cni/config.ts";
import { toError } from "../core/error.ts";
import { hostInterfaceName } from "../core/names.ts";
import type { Ip } from "../core/address.ts";
import { validityOf } from "../ipam/lease.ts";
import type { AttachScope } from "./context.ts";
import type { AttachmentRecord } from "./records.ts";

type RestoreScope = Pick<AttachScope, "ipam" | "records" | "kernel" | "log">;

/**
 * Writes leases again that were lost while their pods run; without them the addresses would be given to
 * others. By the attachments' records, and only where the host interface is there and up. An address
 * that somebody else holds by now is left to people: said once for as long as it lasts.
 */
export class LeaseRestorer {
  readonly #scope: RestoreScope;
  #reported: ReadonlySet<string> = new Set();

  constructor(scope: RestoreScope) {
    this.#scope = scope;
  }

  /** Resolves with how many addresses are held again. A network that fails is logged and passed over. */
  async run(signal: AbortSignal): Promise<number> {
    const { records, log } = this.#scope;
    // Before the leases are looked at: when a record got its addresses, they were held.
    const own = records.list().records.filter(({ ipam }) => ipam.type === ownIpamType);
    const together = Map.groupBy(own, ({ key, ipam }) => `${key.network} ${ipam.dataDir ?? ""}`);
    const taken = new Set<string>();
    let restored = 0;
    for (const group of together.values()) {
      try {
        for (const record of await this.#lacking(group, signal)) {
          restored += await this.#restore(record, taken, signal);
        }
      } catch (cause) {
        if (signal.aborted) throw cause;
        const network = group[0]?.key.network;
        log.error({ network, err: toError(cause) }, "cannot restore the leases of a network");
      }
    }
    this.#reported = taken;
    return restored;
  }

  /** Of one network and directory: those that do not hold all their addresses. */
  async #lacking(
    group: readonly AttachmentRecord[],
    signal: AbortSignal,
  ): Promise<readonly AttachmentRecord[]> {
    const [first] = group;
    if (first === undefined) return [];
    const ipam = this.#scope.ipam.at(first.ipam.dataDir);
    const leases = await ipam.leases(first.key.network, signal);
    const holders = new Map(leases.map((lease) => [lease.address, lease]));
    return group.filter((record) => {
      const isOwn = validityOf([record.key]);
      return addressesOf(record).some((address) => {
        const holder = holders.get(address);
        return holder === undefined || !isOwn(holder);
      });
    });
  }

  async #restore(
    record: AttachmentRecord,
    reported: Set<string>,
    signal: AbortSignal,
  ): Promise<number> {
    const { records, ipam, log } = this.#scope;
    const { key } = record;
    // A request that is at work on it may be about to end it.
    using lock = records.tryLock(key);
    const current = lock && records.read(key);
    if (current?.createdAtMs !== record.createdAtMs || !this.#isThere(current)) return 0;
    const { sandbox, pod } = current;
    const lease = { key, addresses: addressesOf(current), sandbox, ...(pod && { pod }) };
    const outcome = await ipam.at(current.ipam.dataDir).restore(lease, signal);
    const { restored: addresses, taken } = outcome;
    if (addresses.length > 0) {
      log.warn({ ...key, addresses, pod }, "restored the lease of a pod that runs: it was lost");
    }
    for (const { address, holder } of taken) {
      const problem = `${key.network} ${address} ${key.containerId} ${holder?.containerId ?? ""}`;
      reported.add(problem);
      if (this.#reported.has(problem)) continue;
      log.error({ ...key, address, holder, pod }, "a pod's address is leased to somebody else");
    }
    return addresses.length;
  }

  // A veth pair ends with the pod's namespace. One that is down is being removed.
  #isThere({ key, wired }: AttachmentRecord): boolean {
    const link = this.#scope.kernel.link(hostInterfaceName(key));
    return link !== undefined && link.isUp && link.index === wired?.wiring.hostIndex;
  }
}

const addressesOf = ({ wired }: AttachmentRecord): readonly Ip[] => wired?.wiring.addresses ?? [];
