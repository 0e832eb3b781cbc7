import { CniCode, CniError } from "../core/cni/error.ts";
import type { NetworkRequest } from "../core/cni/types.ts";
import { describeError } from "../core/error.ts";
import type { NodeFacts } from "../core/node-facts.ts";
import { offersOf } from "../ipam/assign.ts";
import { fullSet } from "../ipam/full-set.ts";
import { forward, hasOwnIpam, ownIpam, requireIpam } from "./addresses.ts";
import type { AttachScope } from "./context.ts";

/**
 * Whether an ADD could be served now. Throws CniError with the reason. notAvailable: nothing is known
 * of the node, the configuration cannot be served, or a range has no address left.
 * limitedConnectivity: pods do not reach those of other nodes either, for the overlay's device is gone.
 */
export async function status(
  scope: AttachScope,
  request: NetworkRequest,
  signal: AbortSignal,
): Promise<void> {
  const { conf } = request;
  const facts = servable(scope, request);
  const { overlayDevice } = facts;
  if (overlayDevice !== undefined && scope.kernel.link(overlayDevice) === undefined) {
    throw new CniError(
      CniCode.limitedConnectivity,
      `Cannot reach other nodes: the overlay's device "${overlayDevice}" is gone; the fairlead daemon makes it`,
    );
  }
  if (!hasOwnIpam(conf)) return await forward(scope, "STATUS", request, signal);
  const offers = offersOf(conf, () => facts);
  const full = await fullSet(ownIpam(scope, conf), conf, offers, signal);
  if (full === undefined) return;
  throw notAvailable(`no address is left: all ${full.held} of ${full.ranges} are held`);
}

function servable(scope: AttachScope, request: NetworkRequest): NodeFacts {
  try {
    const facts = scope.nodeFacts();
    requireIpam(scope, request, facts);
    return facts;
  } catch (cause) {
    throw notAvailable(describeError(cause), { cause });
  }
}

const notAvailable = (reason: string, options?: ErrorOptions): CniError =>
  new CniError(CniCode.notAvailable, `Cannot serve ADD: ${reason}`, options);
