// The bandwidth capability: runtimeConfig.bandwidth, or the same keys at the top of the configuration,
// as the reference bandwidth plugin has them.
import { type Json, invalidValue, member, optional, readInteger, readObject } from "./json.ts";
import type { Bandwidth, BandwidthLimit } from "./types.ts";

const keys = {
  ingress: { rate: "ingressRate", burst: "ingressBurst" },
  egress: { rate: "egressRate", burst: "egressBurst" },
} as const;
type Direction = keyof typeof keys;

const readRate = readInteger(0, Number.MAX_SAFE_INTEGER);
// The kernel counts a bucket's octets in 32 bits.
const readBurst = readInteger(0, (2 ** 32 - 1) * 8 - 1);
/** Below, the rate is no octet a second. */
const leastRate = 8;

/**
 * The limits that the configuration asks for; nothing where it asks for none. One key at the top,
 * whatever its value, is the operator's word: the runtime's is not heard then. Throws CniError
 * invalidConfig.
 */
export function readBandwidth(json: Json): { readonly bandwidth?: Bandwidth } {
  const isStatic = Object.values(keys).some(
    ({ rate, burst }) => member(json, rate) !== undefined || member(json, burst) !== undefined,
  );
  const runtime = optional(json, "runtimeConfig", readObject).runtimeConfig;
  const at = isStatic ? json : runtime && optional(runtime, "bandwidth", readObject).bandwidth;
  if (at === undefined) return {};
  const ingress = readLimit(at, "ingress");
  const egress = readLimit(at, "egress");
  if (ingress === undefined && egress === undefined) return {};
  return {
    bandwidth: { ...(ingress && { ingress }), ...(egress && { egress }) },
  };
}

function readLimit(at: Json, direction: Direction): BandwidthLimit | undefined {
  const { rate: rateKey, burst: burstKey } = keys[direction];
  const [rateAt, burstAt] = [member(at, rateKey), member(at, burstKey)];
  const rate = rateAt === undefined ? 0 : readRate(rateAt);
  const burst = burstAt === undefined ? 0 : readBurst(burstAt);
  if (rateAt !== undefined && rate > 0) {
    if (burst === 0) throw invalidValue(rateAt, `${burstKey} above 0 with it`);
    if (rate < leastRate) throw invalidValue(rateAt, `at least ${leastRate} bits a second`);
    return { rate, burst };
  }
  if (burstAt !== undefined && burst > 0) {
    throw invalidValue(burstAt, `${rateKey} above 0 with it`);
  }
  return undefined;
}
