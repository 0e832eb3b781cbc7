// What the kernel itself takes for an attachment: the batches of ADD and DEL, in a warm process of their
// own, without request, record or lease.
import { planAdd, planDel } from "../../attach/plan.ts";
import { parseIp } from "../../core/address.ts";
import { hostInterfaceName } from "../../core/names.ts";
import { openKernel } from "../../kernel/linux.ts";

/** Milliseconds, one figure for each sandbox. */
export interface KernelWork {
  /** Sandbox opened, both batches applied, carrier there. */
  readonly add: readonly number[];
  /** The one batch that DEL waits for. */
  readonly del: readonly number[];
  /** One interface removed, which DEL does not wait for. */
  readonly remove: readonly number[];
}

export function measureKernel(ids: readonly string[]): KernelWork {
  using kernel = openKernel();
  const work = { add: [] as number[], del: [] as number[], remove: [] as number[] };
  const timed = (into: number[], run: () => void): void => {
    const startedAt = performance.now();
    run();
    into.push(performance.now() - startedAt);
  };
  for (const [index, id] of ids.entries()) {
    const key = { network: "floor", containerId: id, ifName: "eth0" };
    const device = hostInterfaceName(key);
    const wiring = {
      addresses: [parseIp(`10.252.0.${index + 1}`)!],
      routes: [],
      nodeAddresses: [],
      mtu: 1450,
      hostIndex: 5_000_000 + 2 * index,
      podIndex: 5_000_001 + 2 * index,
    };
    timed(work.add, () => {
      using sandbox = kernel.openSandbox(`/run/netns/${id}`);
      const plan = planAdd(key, wiring, sandbox.fd);
      kernel.apply(plan.host);
      sandbox.apply(plan.sandbox);
      while (!kernel.isRunning(device));
    });
    timed(work.del, () => kernel.apply(planDel(key)));
    timed(work.remove, () => kernel.apply([{ kind: "remove-link", device }]));
  }
  return work;
}
