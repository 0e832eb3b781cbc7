import type { Ip } from "../core/address.ts";
import type { PodName } from "../core/cni/pod-name.ts";
import { ownIpamType } from "../core/cni/config.ts";
import { type AttachmentKey, hostInterfaceName } from "../core/names.ts";
import type { StaleReason } from "../ipam/stale.ts";
import { Absence } from "./absence.ts";
import type { AttachScope } from "./context.ts";
import { LeaseSweep, type LeaseSweepOptions } from "./lease-sweep.ts";
import type { AttachmentRecord } from "./records.ts";
import { removeForgotten } from "./sweep.ts";

/** What was freed, or would be, and why. */
export interface Forgotten extends AttachmentKey {
  /** With its record, interface and hostPorts; or a lease of which nothing else was left. */
  readonly kind: "attachment" | "lease";
  readonly addresses: readonly Ip[];
  readonly pod?: PodName;
  readonly why: StaleReason;
}

export interface SweepRun {
  /** Only says what it would free. */
  readonly isDryRun: boolean;
}

/**
 * Ends what the runtime never came back for, while requests are served: attachments whose sandbox is
 * gone, then leases without one. An attachment's sandbox is gone when its pair is, and nobody has the
 * namespace in two looks, at least the grace apart. One with a foreign IPAM plugin is left to DEL and
 * GC: its plugin must be told, with a configuration that only they bring.
 */
export class ForgottenSweep {
  readonly #scope: AttachScope;
  readonly #options: LeaseSweepOptions;
  readonly #leases: LeaseSweep;
  readonly #absence: Absence;

  constructor(scope: AttachScope, options: LeaseSweepOptions) {
    this.#scope = scope;
    this.#options = options;
    this.#leases = new LeaseSweep(scope, options);
    this.#absence = new Absence(options.graceMs);
  }

  async run(signal: AbortSignal, { isDryRun }: SweepRun): Promise<readonly Forgotten[]> {
    const freed: Forgotten[] = [];
    for (const record of await this.#gone(signal)) {
      if (!isDryRun && !(await removeForgotten(this.#scope, record, signal))) continue;
      const { key, pod, wired } = record;
      const addresses = wired?.wiring.addresses ?? [];
      const why = "its sandbox is gone";
      freed.push({ kind: "attachment", ...key, addresses, ...(pod && { pod }), why });
      if (!isDryRun) this.#scope.log.info({ ...key, addresses, pod, why }, "ended an attachment");
    }
    for (const lease of await this.#leases.run(signal, { isDryRun })) {
      const { network, containerId, ifName, address, details, why } = lease;
      const pod = details?.pod;
      const key = { network, containerId, ifName };
      freed.push({ kind: "lease", ...key, addresses: [address], ...(pod && { pod }), why });
    }
    return freed;
  }

  async #gone(signal: AbortSignal): Promise<readonly AttachmentRecord[]> {
    const { records, kernel } = this.#scope;
    const { liveNamespaces, now } = this.#options;
    const interfaces = new Set(kernel.links().map(({ name }) => name));
    const suspects = records
      .list()
      .records.filter(
        ({ key, ipam }) => ipam.type === ownIpamType && !interfaces.has(hostInterfaceName(key)),
      );
    // Looking at all processes is dear, and a pod's interface ends with its sandbox.
    const live = suspects.length === 0 ? new Set<number>() : await liveNamespaces(signal);
    const missing =
      live === undefined ? [] : suspects.filter(({ sandbox }) => !live.has(sandbox.inode));
    const lasting = this.#absence.lasting(missing.map(attachmentId), now().elapsedMs);
    return missing.filter((record) => lasting.has(attachmentId(record)));
  }
}

// An ADD that asks again has a record of its own.
const attachmentId = ({ key, createdAtMs, sandbox }: AttachmentRecord): string =>
  `${key.network} ${key.containerId} ${key.ifName} ${createdAtMs} ${sandbox.inode}`;
