// A reconciler of node-a over the kernel in memory, its source in the hands of the test.
import { expect, onTestFinished, vi } from "vitest";
import type { Ip } from "../../core/address.ts";
import type { HostPortHolder } from "../../core/desired/host-ports.ts";
import { type Log, silentLog } from "../../core/log.ts";
import { RepairLedger } from "../../core/repair-ledger.ts";
import { parseConfig } from "../../daemon/config/config.ts";
import { planSettings } from "../../daemon/daemon.ts";
import type { NodeState } from "../../daemon/reconcile/node-state.ts";
import { Reconciler } from "../../daemon/reconcile/reconcile.ts";
import { systemClock } from "../../kernel/clock.ts";
import type { FakeKernel } from "../../kernel/fake.ts";
import type { KernelEvent } from "../../kernel/kernel.ts";
import { fakeNodeA } from "./overlay.ts";
import { createFakeSource } from "./source.ts";

/** Fast, so that a test that waits for time waits little. */
export const timing = {
  pauseMs: 1,
  resyncMs: 20,
  fullMs: 40,
  fullShare: 1,
  backoffMs: 5,
  backoffMaxMs: 20,
};
// Against hanging alone.
export const waiting = { timeout: 30_000, interval: 1 };

/** Nothing is compared for time's sake. */
export const calm = { ...timing, resyncMs: 60_000, fullMs: 60_000 };
/** For a comparison by hand. */
export const sure = { mayRemove: true };

export function scene(yaml = "", paces = timing, log: Log = silentLog) {
  const fake = fakeNodeA();
  let listener: ((event: KernelEvent) => void) | undefined;
  let isDeaf = false;
  const late: KernelEvent[] = [];
  const kernel: FakeKernel = {
    ...fake,
    watch: (onChange, options) => {
      listener = onChange;
      const watch = fake.watch((event) => !isDeaf && onChange(event), options);
      const read = (): void => {
        for (const event of late.splice(0)) onChange(event);
        watch.read();
      };
      return { ...watch, read, [Symbol.dispose]: () => watch[Symbol.dispose]() };
    },
  };
  const source = createFakeSource();
  const remembered: string[] = [];
  const elsewhere: KernelEvent[] = [];
  const states: NodeState[] = [];
  const hostPorts: HostPortHolder[] = [];
  const podAddresses: Ip[] = [];
  const config = parseConfig(yaml, "test", { nodeName: "node-a" });
  const ledger = new RepairLedger();
  const reconciler = new Reconciler({
    ledger,
    kernel,
    source,
    settings: planSettings(config),
    removalGraceMs: config.cluster.removalGraceSeconds * 1000,
    missingNodeHint: ({ nodes }) => `no node-a among ${nodes.size}`,
    hostPorts: () => hostPorts,
    podAddresses: () => [...podAddresses],
    rememberSysctl: (name, value) => void remembered.push(`${name} ${value}`),
    onElsewhere: (event) => void elsewhere.push(event),
    onPass: (state) => void states.push(state),
    clock: systemClock,
    log,
    timing: paces,
  });
  onTestFinished(() => reconciler[Symbol.dispose]());
  const reaches = (check: (state: NodeState) => boolean): Promise<NodeState> =>
    vi.waitFor(() => {
      const state = reconciler.state();
      if (state !== undefined && check(state)) return state;
      throw new Error(JSON.stringify(state?.problems));
    }, waiting);
  return {
    kernel,
    source,
    reconciler,
    ledger,
    remembered,
    /** What it told of all that is no pod's interface. */
    elsewhere,
    hostPorts,
    podAddresses,
    states,
    reaches,
    /** What only who asks is told. */
    late,
    /** Passes on nothing of what the kernel tells any more, but this. */
    tell: (event: KernelEvent | "nothing") => {
      isDeaf = true;
      if (event !== "nothing") listener?.(event);
    },
    /** Waits until there are no more passes; for `calm` only. */
    rests: async () => {
      for (let passes = -1; passes !== reconciler.counters.passes;) {
        passes = reconciler.counters.passes;
        const pauseMs = 30 + 10 * reconciler.counters.lastMs;
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    },
    programmed: () => reaches(({ isProgrammed }) => isProgrammed),
    has: (destination: string) =>
      vi.waitFor(() => expect(destinations()).toContain(destination), waiting),
    lacks: (destination: string) =>
      vi.waitFor(() => expect(destinations()).not.toContain(destination), waiting),
  };

  function destinations(): string[] {
    return kernel.routes({ protocol: 76 }).map((route) => route.destination);
  }
}

export const problemsOf = ({ problems }: NodeState): string[] =>
  problems.map(({ area, message }) => `${area}: ${message}`);
