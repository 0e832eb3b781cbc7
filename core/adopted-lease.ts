// Which leases were taken over from other networks, as `/var/lib/fairlead/adopted.json` has them.
import * as v from "valibot";
import type { Ip } from "./address.ts";
import { ConfigError } from "./error.ts";
import { ipSchema } from "./schema.ts";

export interface AdoptedLease {
  readonly address: Ip;
  readonly containerId: string;
  /** Empty in host-local's oldest file format. */
  readonly ifName: string;
  /** Ours, that has the lease now. */
  readonly network: string;
  /** The directory of the network that gave it. */
  readonly origin: string;
  /** In which it was adopted: its pod ends with the boot. */
  readonly bootId: string;
}

const fileSchema = v.object({
  version: v.literal(1),
  leases: v.array(
    v.object({
      address: ipSchema,
      containerId: v.string(),
      ifName: v.string(),
      network: v.string(),
      origin: v.string(),
      bootId: v.string(),
    }),
  ),
});

export const formatAdoptedLeases = (leases: readonly AdoptedLease[]): string =>
  `${JSON.stringify({ version: 1, leases }, null, 2)}\n`;

/** Throws ConfigError naming the file when the text is not ours. */
export function parseAdoptedLeases(text: string, where: string): readonly AdoptedLease[] {
  try {
    return v.parse(fileSchema, JSON.parse(text)).leases;
  } catch (cause) {
    throw new ConfigError(where, "Cannot read which leases were adopted: expected our own JSON", {
      cause,
    });
  }
}
