import type { BandwidthLimit } from "../core/cni/types.ts";
import type { IfName } from "../core/names.ts";
import type { Shaping } from "../core/network.ts";

const largestU32 = 2 ** 32 - 1;
const ethernetHeader = 14;
/** How long a packet may wait behind a full bucket, ms: as the reference plugin has it. */
const waitMs = 25;
/**
 * Kubernetes knows no burst, so its runtimes send the largest: containerd 2³²−1 bits, CRI-O eight
 * times that. Taken at its word it is half a gigabyte without any limit, 71 minutes' worth at 1 Mbit/s.
 */
const noBurst = largestU32;
/** What such a runtime gets, ms at the rate. */
const defaultBurstMs = 100;

/** A limit in bits as the kernel is told it: in octets, within 32 bits, one whole packet at least. */
export function shapingOf(
  device: IfName,
  { rate: bitRate, burst: bits }: BandwidthLimit,
  mtu: number,
): Shaping {
  const rate = Math.floor(bitRate / 8);
  const asked = bits >= noBurst ? (rate * defaultBurstMs) / 1000 : bits / 8;
  // With a smaller bucket no full packet would ever pass.
  const burst = Math.min(Math.max(Math.floor(asked), mtu + ethernetHeader), largestU32);
  const limit = Math.min(Math.floor((rate * waitMs) / 1000) + burst, largestU32);
  return { device, rate, burst, limit };
}
