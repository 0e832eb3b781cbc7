// Run as a process of its own: how long the store takes to know a directory's leases, and what memory it
// has for them then. Arguments: the data directory, the subnet. Needs --expose-gc. Prints one JSON object.
import { parseCidr } from "../../core/address.ts";
import { openIpam } from "../../ipam/store.ts";
import { systemClock } from "../../kernel/clock.ts";
import { network } from "./scenarios.ts";

export interface StoreCost {
  readonly leases: number;
  /** Milliseconds until the first request of the process is answered. */
  readonly first: number;
  /** Octets more than before that request, after a collection. */
  readonly heap: number;
  readonly resident: number;
}

const [dataDir = "", subnet = ""] = process.argv.slice(2);
const collect = (): NodeJS.MemoryUsage => {
  globalThis.gc?.();
  return process.memoryUsage();
};

const cidr = parseCidr(subnet);
if (cidr === undefined) throw new Error(`Not a subnet: ${subnet}`);
const signal = new AbortController().signal;
const key = { network, containerId: "cost", ifName: "eth0" };
// The code is loaded and ran once, elsewhere, so that only the leases make the difference.
const ipam = openIpam({ dataDir, clock: systemClock });
await ipam.release({ ...key, network: "none" }, signal);
const before = collect();
const startedAt = performance.now();
await ipam.reserve({ key, ranges: [[{ subnet: cidr }]], requestedIps: [] }, signal);
const first = performance.now() - startedAt;
await ipam.release(key, signal);
const after = collect();
const { length: leases } = await ipam.leases(network);
const cost: StoreCost = {
  leases,
  first,
  heap: after.heapUsed - before.heapUsed,
  resident: after.rss - before.rss,
};
process.stdout.write(JSON.stringify(cost));
