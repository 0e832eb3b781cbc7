import * as v from "valibot";
import type { Cidr, Ip } from "./address.ts";
import type { AddressSpan } from "./address-span.ts";
import { ConfigError } from "./error.ts";
import type { Pool } from "./pool.ts";
import { cidrSchema, ipSchema, wholeNumber } from "./schema.ts";

/** As long as TCP keeps a closed connection's tuple (TIME-WAIT on Linux), and longer than DNS answers. */
export const defaultQuarantineSeconds = 60;
export const longestQuarantineSeconds = 3600;

/**
 * What the plugin needs without a daemon: `/run/fairlead/node.json`, written by the daemon by rename
 * before the conflist appears, kept across its stop and crash.
 */
export interface NodeFacts {
  readonly version: 1;
  readonly nodeName: string;
  /** The daemon's network, as the conflist names it. */
  readonly network: string;
  /** This node's, of all pools. */
  readonly podCidrs: readonly Cidr[];
  /** The cluster's beside the default one. */
  readonly pools?: readonly Pool[];
  /** The default pool's, of all nodes; absent: not known. */
  readonly clusterCidrs?: readonly Cidr[];
  /** Absent: not known. */
  readonly serviceCidrs?: readonly Cidr[];
  /** Namespace → pool, by the namespace's annotation or by `network.pools`. */
  readonly namespacePools?: Readonly<Record<string, string>>;
  /** `namespace/name` → pool, of this node's annotated pods and of those that no node has yet. */
  readonly podPools?: Readonly<Record<string, string>>;
  /** Addresses that no pod gets; absent: none. */
  readonly reserved?: readonly AddressSpan[];
  /** How long a freed address rests; absent: {@link defaultQuarantineSeconds}. */
  readonly quarantineSeconds?: number;
  /** Whether a pod gets the address that it had last. */
  readonly isSticky?: boolean;
  /** The underlay addresses of this node: preferred source of local pod routes. */
  readonly nodeAddresses: readonly Ip[];
  /** Octets, for pod interfaces. */
  readonly mtu: number;
  /** The overlay's device, on a node that has one: while it is gone, STATUS says 51. */
  readonly overlayDevice?: string;
  readonly dns: {
    readonly nameservers: readonly Ip[];
    readonly domain: string;
    /** Without the namespace's part, which is put in front for a pod whose namespace is known. */
    readonly search: readonly string[];
    readonly options: readonly string[];
  };
  /** /proc/sys/kernel/random/boot_id: facts of another boot are void. */
  readonly bootId: string;
}

const nodeFactsSchema = v.object({
  version: v.literal(1),
  nodeName: v.string(),
  network: v.string(),
  podCidrs: v.array(cidrSchema),
  pools: v.exactOptional(v.array(v.object({ name: v.string(), cidrs: v.array(cidrSchema) }))),
  clusterCidrs: v.exactOptional(v.array(cidrSchema)),
  serviceCidrs: v.exactOptional(v.array(cidrSchema)),
  namespacePools: v.exactOptional(v.record(v.string(), v.string())),
  podPools: v.exactOptional(v.record(v.string(), v.string())),
  reserved: v.exactOptional(v.array(v.object({ first: ipSchema, last: ipSchema }))),
  quarantineSeconds: v.exactOptional(wholeNumber(0, longestQuarantineSeconds)),
  isSticky: v.exactOptional(v.boolean()),
  nodeAddresses: v.array(ipSchema),
  mtu: v.pipe(v.number(), v.integer()),
  overlayDevice: v.exactOptional(v.string()),
  dns: v.object({
    nameservers: v.array(ipSchema),
    domain: v.string(),
    search: v.array(v.string()),
    options: v.array(v.string()),
  }),
  bootId: v.string(),
});

export const formatNodeFacts = (facts: NodeFacts): string => `${JSON.stringify(facts, null, 2)}\n`;

/** Throws ConfigError naming the file and the first thing wrong in it. */
export function parseNodeFacts(text: string, where: string): NodeFacts {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new ConfigError(where, "Cannot parse the node's facts: not JSON", { cause });
  }
  const parsed = v.safeParse(nodeFactsSchema, json);
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  throw new ConfigError(where, `Invalid ${v.getDotPath(issue) ?? "file"}: ${issue.message}`);
}
