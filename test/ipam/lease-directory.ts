// A data directory of its own for each test, and what is in it.
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RangeConf } from "../../core/cni/types.ts";
import type { AttachmentKey } from "../../core/names.ts";
import type { Ipam, ReservedAddress } from "../../ipam/ipam.ts";
import { type IpamOptions, openIpam } from "../../ipam/store.ts";
import { systemClock } from "../../kernel/clock.ts";
import { cidr, ip } from "../support/builders.ts";

export interface DataDir extends Disposable {
  readonly path: string;
  open(options?: Partial<IpamOptions>): Ipam;
  /** Address files and last_reserved_ip.N of a network, with their content. */
  files(network?: string): Record<string, string>;
  /** Only the addresses. */
  addresses(network?: string): string[];
}

export function createDataDir(): DataDir {
  const path = mkdtempSync(join(tmpdir(), "fairlead-ipam-"));
  const files = (network = "mynet"): Record<string, string> =>
    Object.fromEntries(
      readdirSync(join(path, network))
        .filter((name) => name !== "lock")
        .map((name) => [name, readFileSync(join(path, network, name), "utf8")]),
    );
  return {
    path,
    open: (options = {}) => openIpam({ dataDir: path, clock: systemClock, ...options }),
    files,
    addresses: (network) =>
      Object.keys(files(network)).filter((name) => !name.startsWith("last_reserved_ip")),
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}

export const key = (containerId: string, ifName = "eth0", network = "mynet"): AttachmentKey => ({
  network,
  containerId,
  ifName,
});

/** One set per argument; a set is one subnet, or several separated by spaces. */
export const ranges = (...sets: readonly string[]): RangeConf[][] =>
  sets.map((set) => set.split(" ").map((subnet) => ({ subnet: cidr(subnet) })));

export const never: AbortSignal = new AbortController().signal;

interface Add {
  readonly ranges: RangeConf[][];
  readonly requested?: readonly string[];
}

export const add = (ipam: Ipam, attachment: AttachmentKey, request: Add): Promise<string[]> =>
  ipam
    .reserve(
      {
        key: attachment,
        ranges: request.ranges,
        requestedIps: (request.requested ?? []).map(ip),
      },
      never,
    )
    .then((reserved) => reserved.map(addressOf));

const addressOf = ({ address }: ReservedAddress): string => address.address;
