import { toError } from "../core/error.ts";
import type { Ip } from "../core/address.ts";
import type { Log } from "../core/log.ts";
import type { IfName } from "../core/names.ts";
import type { Kernel } from "../kernel/kernel.ts";

/**
 * The interfaces that DEL has taken down and the kernel is still removing, which takes it 20 ms: their
 * names and addresses are waited for, never used again early.
 */
export interface Reaper {
  /** Removes the interface; resolves when it is gone. A failure is logged too: nobody may be waiting. */
  retire(device: IfName, addresses: readonly Ip[]): Promise<void>;
  /** Resolves when nothing is being removed any more that has this name or one of these addresses. */
  whenGone(device: IfName, addresses: readonly Ip[]): Promise<void>;
  /** Resolves when nothing is being removed any more. */
  settled(): Promise<void>;
}

interface Removal {
  readonly device: IfName;
  readonly addresses: readonly Ip[];
  /** Resolves also when the removal failed. */
  readonly ended: Promise<void>;
}

export function createReaper(kernel: Kernel, log: Log): Reaper {
  const removals = new Set<Removal>();
  const allOf = async (chosen: readonly Removal[]): Promise<void> => {
    await Promise.all(chosen.map(({ ended }) => ended));
  };
  return {
    retire(device, addresses) {
      const gone = kernel.reap([device]);
      const removal: Removal = {
        device,
        addresses,
        ended: gone
          .catch((thrown: unknown) => {
            log.error({ device, err: toError(thrown) }, "cannot remove a pod's host interface");
          })
          .then(() => void removals.delete(removal)),
      };
      removals.add(removal);
      return gone;
    },
    whenGone: (device, addresses) =>
      allOf(
        [...removals].filter(
          (removal) =>
            removal.device === device ||
            removal.addresses.some((address) => addresses.includes(address)),
        ),
      ),
    settled: () => allOf([...removals]),
  };
}
