// Which other nodes the machine itself has no way to: their tunnel is in the kernel, and what is sent into it
// is lost. For status alone; nothing is removed, for the way may come back.
import type { Ip } from "../../core/address.ts";
import { isOnLink, type Underlay } from "../../core/desired/underlay.ts";
import type { NodePlan } from "../../core/desired/plan.ts";
import type { PeerPlan } from "../../core/desired/overlay.ts";
import { mainTable } from "../../core/network.ts";
import type { Clock } from "../../core/clock.ts";
import type { StatusProblem } from "../../core/status.ts";
import type { Kernel, KernelEvent } from "../../kernel/kernel.ts";

/** Of the time, however many nodes and however many routes that come and go: 10 µs for each node. */
const share = 1 / 200;
const namedPeers = 3;

export class UnroutedPeers {
  readonly #kernel: Pick<Kernel, "isRouted">;
  readonly #clock: Clock;
  /** What was found of each, until routes change. */
  #known = new Map<PeerPlan, boolean>();
  #of: NodePlan | undefined;
  #isStale = true;
  #notBeforeMs = -Infinity;
  /** The tunnel's ends, by node. */
  #found: ReadonlyMap<string, Ip> = new Map();

  constructor(kernel: Pick<Kernel, "isRouted">, clock: Clock) {
    this.#kernel = kernel;
    this.#clock = clock;
  }

  /** Links, addresses or routes of others may be others than at the last look. */
  notice({ devices, changes, overflow }: KernelEvent): void {
    this.#isStale ||=
      overflow ||
      devices.size > 0 ||
      changes === "many" ||
      changes.some(
        ({ kind, item }) => (kind === "route" || kind === "route-gone") && item.table === mainTable,
      );
  }

  get names(): ReadonlySet<string> {
    return new Set(this.#found.keys());
  }

  /** Asks the kernel of those that it may have another answer for; now and then only where that takes long. */
  look(plan: NodePlan): void {
    const startedAtMs = this.#clock.monotonicMs();
    const isDue = this.#isStale || this.#of !== plan;
    if (!isDue || startedAtMs < this.#notBeforeMs) return;
    const underlay = plan.local?.underlay;
    const before = this.#isStale ? new Map<PeerPlan, boolean>() : this.#known;
    const known = new Map<PeerPlan, boolean>();
    const found = new Map<string, Ip>();
    for (const [name, peer] of plan.peers) {
      const end = underlay && endOf(peer, underlay);
      if (underlay === undefined || end === undefined) continue;
      const isRouted = before.get(peer) ?? this.#kernel.isRouted(end, underlay.index);
      known.set(peer, isRouted);
      if (!isRouted) found.set(name, end);
    }
    [this.#known, this.#found, this.#of, this.#isStale] = [known, found, plan, false];
    const endedAtMs = this.#clock.monotonicMs();
    this.#notBeforeMs = endedAtMs + (endedAtMs - startedAtMs) / share;
  }

  problems(): readonly StatusProblem[] {
    const [first] = this.#found;
    const device = this.#of?.local?.underlay.device;
    if (first === undefined || device === undefined) return [];
    const some = Array.from(this.#found).slice(0, namedPeers);
    const texts = some.map(([name, address]) => `${address} of Node ${name}`).join(", ");
    const more =
      this.#found.size > some.length ? ` and ${this.#found.size - some.length} more` : "";
    const message = `Cannot reach ${texts}${more}: no route of this machine leads there by "${device}"; expected one, such as a default route`;
    return [{ area: "node", message }];
  }
}

/** Where the tunnel to the node ends; undefined where there is none, or no router on the way. */
function endOf({ fdb: [entry] }: PeerPlan, underlay: Underlay): Ip | undefined {
  return entry === undefined || isOnLink(underlay, entry.destination)
    ? undefined
    : entry.destination;
}
