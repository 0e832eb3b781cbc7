// What this node tells the cluster of itself, as objects that any source's parser reads.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { AttachmentRecord } from "../../attach/records.ts";
import type { Cidr, Ip } from "../../core/address.ts";
import { ConfigError, describeError, hasErrno } from "../../core/error.ts";
import { attachmentHash } from "../../core/names.ts";
import { attachmentObject } from "../source/attachment-object.ts";
import { objectKeyOf } from "../source/cluster-object.ts";
import { parseServiceFile, type PublishedService, serviceObjects } from "./service-file.ts";

type Objects = ReadonlyMap<string, object>;

export const ownNodeKey = (nodeName: string): string => objectKeyOf("Node", { name: nodeName });

export const ownNode = (
  name: string,
  addresses: readonly Ip[],
  podCIDRs: readonly Cidr[],
): object => ({
  apiVersion: "v1",
  kind: "Node",
  metadata: { name },
  spec: { podCIDRs },
  status: { addresses: addresses.map((address) => ({ type: "InternalIP", address })) },
});

// Twelve hexadecimal digits, a dot, the node's name: no two nodes have one in common.
const hashDigits = 12;
const attachmentId = (nodeName: string, { key }: AttachmentRecord): string =>
  `${attachmentHash(key)}.${nodeName}`;

/** Of the attachment that `Attachment ID` names. */
export const isAttachmentOf = (nodeName: string, object: string): boolean =>
  object.startsWith("Attachment ") &&
  object.slice("Attachment ".length + hashDigits) === `.${nodeName}`;

/** Attachments to this network that have their addresses, each with the names that it goes by. */
export function ownAttachments(
  nodeName: string,
  network: string,
  records: readonly AttachmentRecord[],
): Objects {
  const objects = new Map<string, object>();
  for (const record of records) {
    const { key, pod, aliases = [], wired } = record;
    if (key.network !== network || wired === undefined) continue;
    // Nobody can ask for one that has no name.
    if (pod === undefined && aliases.length === 0) continue;
    const id = attachmentId(nodeName, record);
    const { addresses } = wired.wiring;
    const attachment = { id, nodeName, network, addresses, aliases: namesIn(aliases) };
    objects.set(
      objectKeyOf("Attachment", { name: id }),
      attachmentObject({ ...attachment, ...(pod !== undefined && { pod }) }),
    );
  }
  return objects;
}

/** Aliases that DNS can have: labels, in lower case. */
const namesIn = (aliases: readonly string[]): readonly string[] => [
  ...new Set(
    aliases.map((alias) => alias.toLowerCase()).filter((alias) => labelPattern.test(alias)),
  ),
];
// RFC 1123, 2.1.
const labelPattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

export interface OwnServices {
  readonly services: readonly PublishedService[];
  /** The endpoints of these. */
  readonly objects: Objects;
  readonly problems: readonly string[];
}

/** From the files that `fairlead service publish` writes. */
export function ownServices(nodeName: string, directory: string): OwnServices {
  const objects = new Map<string, object>();
  const services: PublishedService[] = [];
  const problems: string[] = [];
  for (const name of namesOf(directory)) {
    const path = join(directory, name);
    try {
      const service = parseServiceFile(readText(path), path);
      services.push(service);
      for (const [key, object] of serviceObjects(service, nodeName)) objects.set(key, object);
    } catch (error) {
      if (!hasErrno(error, "ENOENT")) problems.push(describeError(error));
    }
  }
  return { services, objects, problems };
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    // Withdrawn since.
    if (hasErrno(cause, "ENOENT")) throw cause;
    throw new ConfigError(path, "Cannot read it", { cause });
  }
}

function namesOf(directory: string): readonly string[] {
  try {
    return readdirSync(directory)
      .filter((name) => /^[^.].*\.json$/.test(name))
      .sort();
  } catch (error) {
    if (hasErrno(error, "ENOENT")) return [];
    throw error;
  }
}
