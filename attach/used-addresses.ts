// Addresses that this node reaches elsewhere than at the attachment that is to have them: a running pod's
// whose lease was lost, or those of a network with leases of its own. The kernel has the last word.
import { type Cidr, type Ip, cidrBase, hostCidr } from "../core/address.ts";
import { CniCode, CniError } from "../core/cni/error.ts";
import type { IfName } from "../core/names.ts";
import { mainTable } from "../core/network.ts";
import type { NetworkNamespace } from "../kernel/kernel.ts";

export class UsedAddressError extends CniError {
  /** All that the node reaches elsewhere, the attachment's among them. */
  readonly used: readonly Ip[];

  constructor(message: string, used: readonly Ip[], options: ErrorOptions) {
    super(CniCode.internal, message, options);
    this.used = used;
  }
}

/**
 * Throws UsedAddressError when the node has a route to one of the addresses that is not over the device.
 * For after "exists already": it reads all routes.
 */
export function refuseUsed(
  kernel: NetworkNamespace,
  device: IfName,
  addresses: readonly Ip[],
  cause: unknown,
): void {
  const elsewhere = kernel
    .routes({ table: mainTable })
    .filter((route) => route.device !== device && isOfOneAddress(route.destination));
  for (const address of addresses) {
    const found = elsewhere.find(({ destination }) => destination === hostCidr(address));
    if (found === undefined) continue;
    throw new UsedAddressError(
      `Cannot use the address ${address}: this node reaches it over "${found.device}"`,
      elsewhere.map(({ destination }) => cidrBase(destination)),
      { cause },
    );
  }
}

const isOfOneAddress = (cidr: Cidr): boolean => hostCidr(cidrBase(cidr)) === cidr;
