// One attachment's record as a file: its shape, and how it is read.
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import * as v from "valibot";
import type { PodName } from "../core/cni/pod-name.ts";
import type { Dns } from "../core/cni/types.ts";
import { hasErrno } from "../core/error.ts";
import { type AttachmentKey, attachmentHash } from "../core/names.ts";
import { transportProtocols } from "../core/port-mapping.ts";
import { cidrSchema, ipSchema, macSchema, oneOf, portSchema, wholeNumber } from "../core/schema.ts";
import type { NamespaceIdentity } from "../kernel/kernel.ts";
import type { Wiring } from "./wiring.ts";

export interface AttachmentRecord {
  readonly key: AttachmentKey;
  /** CNI_NETNS as given, and which namespace that was. */
  readonly sandbox: { readonly path: string } & NamespaceIdentity;
  /** Who the pod is, where the runtime said so. */
  readonly pod?: PodName;
  /** Names of the pod on its network, where the runtime gave some. */
  readonly aliases?: readonly string[];
  /** Whose the addresses are: `ipam.type`, and `ipam.dataDir` where the configuration has one. */
  readonly ipam: RecordedIpam;
  /** Wall clock: when the ADD began. */
  readonly createdAtMs: number;
  /** Absent until the addresses are reserved. */
  readonly wired?: Wired;
}

export interface RecordedIpam {
  readonly type: string;
  readonly dataDir?: string;
  /** Of a delegated plugin: standard input of the ADD, with which it can be told of a DEL. */
  readonly request?: string;
}

export interface Wired {
  readonly wiring: Wiring;
  readonly dns: Dns;
  /** What a delegated IPAM plugin answered to ADD. */
  readonly given?: string;
}

/** Of an attachment that has its addresses. */
export type WiredRecord = AttachmentRecord & { readonly wired: Wired };

const recordVersion = 1;
const count = wholeNumber(0, Number.MAX_SAFE_INTEGER);

const limitSchema = v.object({ rate: count, burst: count });

const wiringSchema = v.object({
  addresses: v.array(ipSchema),
  routes: v.array(
    v.object({
      destination: cidrSchema,
      metric: v.exactOptional(count),
      table: v.exactOptional(count),
    }),
  ),
  nodeAddresses: v.array(ipSchema),
  mtu: count,
  podMac: v.exactOptional(macSchema),
  hostIndex: count,
  podIndex: count,
  bandwidth: v.exactOptional(
    v.object({ ingress: v.exactOptional(limitSchema), egress: v.exactOptional(limitSchema) }),
  ),
  portMappings: v.exactOptional(
    v.array(
      v.object({
        protocol: oneOf(transportProtocols),
        hostIp: v.exactOptional(ipSchema),
        hostPort: portSchema,
        containerPort: portSchema,
      }),
    ),
  ),
  alias: v.exactOptional(v.string()),
});

const dnsSchema = v.object({
  nameservers: v.exactOptional(v.array(v.string())),
  domain: v.exactOptional(v.string()),
  search: v.exactOptional(v.array(v.string())),
  options: v.exactOptional(v.array(v.string())),
});

const recordSchema = v.object({
  version: v.literal(recordVersion),
  key: v.object({ network: v.string(), containerId: v.string(), ifName: v.string() }),
  sandbox: v.object({ path: v.string(), device: count, inode: count }),
  aliases: v.exactOptional(v.array(v.string())),
  pod: v.exactOptional(v.object({ namespace: v.string(), name: v.string() })),
  ipam: v.object({
    type: v.string(),
    dataDir: v.exactOptional(v.string()),
    request: v.exactOptional(v.string()),
  }),
  createdAtMs: v.number(),
  wired: v.exactOptional(
    v.object({ wiring: wiringSchema, dns: dnsSchema, given: v.exactOptional(v.string()) }),
  ),
});

export type RecordFile =
  | { readonly kind: "record"; readonly record: AttachmentRecord }
  | { readonly kind: "absent" }
  | { readonly kind: "unreadable"; readonly problem: string };

export function readRecord(path: string): RecordFile {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    if (hasErrno(cause, "ENOENT")) return { kind: "absent" };
    throw cause;
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { kind: "unreadable", problem: `not JSON (${text.length} characters)` };
  }
  const parsed = v.safeParse(recordSchema, json);
  if (!parsed.success) {
    const [issue] = parsed.issues;
    return { kind: "unreadable", problem: `${v.getDotPath(issue) ?? "file"}: ${issue.message}` };
  }
  const { version: _, ...record } = parsed.output;
  // A copy under another attachment's name is not that attachment's.
  if (basename(path) !== `${attachmentHash(record.key)}.json`) {
    return { kind: "unreadable", problem: "the file's name is not its attachment's" };
  }
  return { kind: "record", record };
}

export const formatRecord = (record: AttachmentRecord): string =>
  JSON.stringify({ version: recordVersion, ...record });
