// A lease's file, as host-local writes it: named by the address, its content says who holds it.
import type { Lease } from "./ipam.ts";

export type Owner = Pick<Lease, "containerId" | "ifName">;

/** Which file it is: the name alone may be another one's since. */
export interface FileStamp {
  readonly inode: number;
  /** With all digits that the file system gives. */
  readonly modifiedMs: number;
}

export const isSameFile = (a: FileStamp, b: FileStamp): boolean =>
  a.inode === b.inode && a.modifiedMs === b.modifiedMs;

/** Container id, CR LF, interface name, no newline at the end; the oldest format is the id alone. */
export const formatOwner = ({ containerId, ifName }: Owner): string =>
  ifName === "" ? containerId.trim() : `${containerId.trim()}\r\n${ifName}`;

/**
 * Undefined when the content is empty or torn: what a crash between creating a file and writing it
 * leaves (host-local's way), or a power cut (zeros; no interface behind a CR). Such a file tells nobody's
 * lease.
 */
export function parseOwner(content: string): Owner | undefined {
  const text = content.trim();
  if (text === "" || text.includes("\0")) return undefined;
  const [containerId = "", ...rest] = text.split(/\r?\n/);
  if (rest.length === 0 && content.includes("\r")) return undefined;
  return { containerId: containerId.trim(), ifName: rest.join("\n").trim() };
}

/**
 * Whether a lease belongs to one of these attachments: GC's question. A lease in the oldest format
 * has no interface name, so it is valid with any attachment of its container.
 */
export function validityOf(attachments: readonly Owner[]): (lease: Lease) => boolean {
  const owners = new Set(attachments.map(formatOwner));
  const containers = new Set(attachments.map(({ containerId }) => containerId));
  return (lease) =>
    lease.ifName === "" ? containers.has(lease.containerId) : owners.has(formatOwner(lease));
}
