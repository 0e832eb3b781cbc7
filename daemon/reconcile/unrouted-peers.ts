// Which other nodes the machine itself has no way to: their tunnel is in the kernel, and what is sent into it
// is lost. For status alone; nothing is removed, for the way may come back.
import type { Ip } from "../../core/address.ts";
import { isOnLink, type Underlay } from "../../core/desired/underlay.ts";
import type { NodePlan } from "../../core/desired/plan.ts";
import type { PeerPlan } from "../../core/desired/overlay.ts";
import { vxlanDevice } from "../../core/names.ts";
import { mainTable } from "../../core/network.ts";
import type { Clock } from "../../core/clock.ts";
import type { StatusProblem } from "../../core/status.ts";
import type { Kernel, KernelEvent } from "../../kernel/kernel.ts";

/** Of the time, however many nodes and however many routes that come and go: 10 to 20 µs for each node. */
const share = 1 / 200;
/** Some hundreds of nodes. */
const atOnceMs = 5;
const namedPeers = 3;

interface Answer {
  readonly isRouted: boolean;
  readonly round: number;
}

export class UnroutedPeers {
  readonly #kernel: Pick<Kernel, "isRouted">;
  readonly #clock: Clock;
  #known: ReadonlyMap<PeerPlan, Answer> = new Map();
  /** Counts how often routes were others: answers of an earlier round are asked for anew. */
  #round = 0;
  /** The plan of which all peers have been asked for. */
  #of: NodePlan | undefined;
  #device: string | undefined;
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
      [...devices].some((device) => device !== vxlanDevice) ||
      changes === "many" ||
      changes.some(
        ({ kind, item }) => (kind === "route" || kind === "route-gone") && item.table === mainTable,
      );
  }

  get names(): ReadonlySet<string> {
    return new Set(this.#found.keys());
  }

  /** Asks the kernel of those that it may have another answer for: of many, some at each call. */
  look(plan: NodePlan): void {
    const startedAtMs = this.#clock.monotonicMs();
    const isDue = this.#isStale || this.#of !== plan;
    if (!isDue || startedAtMs < this.#notBeforeMs) return;
    if (this.#isStale) this.#round++;
    this.#isStale = false;
    this.#of = plan;
    const underlay = plan.local?.underlay;
    const known = new Map<PeerPlan, Answer>();
    const found = new Map<string, Ip>();
    for (const [name, peer] of plan.peers) {
      const end = underlay && endOf(peer, underlay);
      if (underlay === undefined || end === undefined) continue;
      let answer = this.#known.get(peer);
      if (answer?.round !== this.#round) {
        if (this.#clock.monotonicMs() - startedAtMs < atOnceMs) {
          answer = { isRouted: this.#kernel.isRouted(end, underlay.index), round: this.#round };
        } else this.#of = undefined;
      }
      if (answer !== undefined) known.set(peer, answer);
      if (answer?.isRouted === false) found.set(name, end);
    }
    this.#known = known;
    this.#found = found;
    this.#device = underlay?.device;
    const endedAtMs = this.#clock.monotonicMs();
    // What is longer was not ours: others had the processor.
    const tookMs = Math.min(endedAtMs - startedAtMs, 2 * atOnceMs);
    this.#notBeforeMs = endedAtMs + tookMs / share;
  }

  problems(): readonly StatusProblem[] {
    const [first] = this.#found;
    if (first === undefined || this.#device === undefined) return [];
    const some = Array.from(this.#found).slice(0, namedPeers);
    const texts = some.map(([name, address]) => `${address} of Node ${name}`).join(", ");
    const more =
      this.#found.size > some.length ? ` and ${this.#found.size - some.length} more` : "";
    const message = `Cannot reach ${texts}${more}: no route of this machine leads there by "${this.#device}"; expected one, such as a default route`;
    return [{ area: "node", message }];
  }
}

/** Where the tunnel to the node ends; undefined where there is none, or no router on the way. */
function endOf({ fdb: [entry] }: PeerPlan, underlay: Underlay): Ip | undefined {
  return entry === undefined || isOnLink(underlay, entry.destination)
    ? undefined
    : entry.destination;
}
