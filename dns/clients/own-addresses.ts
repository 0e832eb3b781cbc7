import { networkInterfaces } from "node:os";
import type { Clock } from "../../core/clock.ts";

/** Strangers shall not make it read without a pause. */
const readAgainMs = 1000;

export type ReadInterfaces = () => Readonly<
  Record<string, readonly { readonly address: string }[] | undefined>
>;

/**
 * Whether an address is the node's own. Over IPv4 the node asks a service address from that same one; over IPv6,
 * where no interface has it, from whichever of its addresses the kernel finds best.
 */
export function ownAddresses(
  clock: Clock,
  read: ReadInterfaces = networkInterfaces,
): (address: string) => boolean {
  let own: ReadonlySet<string> = new Set();
  let readAtMs = -Infinity;
  return (address) => {
    const nowMs = clock.monotonicMs();
    if (nowMs - readAtMs >= readAgainMs) {
      const all = Object.values(read()).flatMap((addresses) => addresses ?? []);
      own = new Set(all.map((one) => one.address));
      readAtMs = nowMs;
    }
    return own.has(address);
  };
}
