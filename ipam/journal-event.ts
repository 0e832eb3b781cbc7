// One line of a network's journal: an event, with a checksum in front. A line that a crash tore, that
// a power cut left as zeros, or that somebody else wrote does not match, and says nothing.
import { crc32 } from "node:zlib";
import { type Ip, parseIp } from "../core/address.ts";
import type { PodName } from "../core/cni/pod-name.ts";
import type { NamespaceIdentity } from "../kernel/kernel.ts";
import { type FileStamp, type Owner, isSameFile } from "./lease.ts";

/** When something was, in a way that outlives a jump of the wall clock and a reboot. */
export interface Moment {
  readonly bootId: string;
  /** Milliseconds since that boot. */
  readonly elapsedMs: number;
  /** Wall clock. */
  readonly wallMs: number;
}

/** CNI_NETNS as given, and which namespace that was. */
export type SandboxName = NamespaceIdentity & { readonly path: string };

/** What a lease's file cannot say. */
export interface LeaseDetails {
  readonly owner: Owner;
  /** Of which file this is said: another one of the same name is another lease. */
  readonly stamp: FileStamp;
  readonly given: Moment;
  readonly sandbox?: SandboxName;
  readonly pod?: PodName;
  /** How long the address is to rest when it is freed; absent: not known. */
  readonly quarantineMs?: number;
}

/** Whether both are of one file, sandbox and boot. */
export const isSaidOf = (a: LeaseDetails, b: LeaseDetails): boolean =>
  a.given.bootId === b.given.bootId &&
  isSameFile(a.stamp, b.stamp) &&
  a.sandbox?.device === b.sandbox?.device &&
  a.sandbox?.inode === b.sandbox?.inode;

/** And of one request. */
export const isSameGiving = (a: LeaseDetails, b: LeaseDetails): boolean =>
  isSaidOf(a, b) && a.given.elapsedMs === b.given.elapsedMs;

export type JournalEvent =
  /** The journal's first line. Another generation is another journal. */
  | { readonly kind: "journal"; readonly generation: string }
  /** Written before the files, and only true of files with this stamp. */
  | { readonly kind: "given"; readonly addresses: readonly Ip[]; readonly details: LeaseDetails }
  | {
      readonly kind: "freed";
      readonly addresses: readonly Ip[];
      readonly why: string;
      readonly freed: Moment;
    }
  /** In a file of its own: what the pod gets again by its name. */
  | StickyEvent;

export interface StickyEvent {
  readonly kind: "sticky";
  readonly addresses: readonly Ip[];
  readonly pod: PodName;
  /** Wall clock, of the last time that it was given. */
  readonly wallMs: number;
}

const absent = "-";

/** Fields between tabs; with its newline. */
export function formatEvent(event: JournalEvent): string {
  const fields = [event.kind, ...fieldsOf(event)].map(escapeField);
  const text = fields.join("\t");
  return `${checksum(text)}\t${text}\n`;
}

function fieldsOf(event: JournalEvent): readonly string[] {
  switch (event.kind) {
    case "journal":
      return ["1", event.generation];
    case "given": {
      const { owner, stamp, given, sandbox, pod, quarantineMs } = event.details;
      return [
        event.addresses.join(" "),
        owner.containerId,
        owner.ifName,
        `${stamp.inode} ${stamp.modifiedMs}`,
        ...momentFields(given),
        sandbox ? `${sandbox.device} ${sandbox.inode} ${sandbox.path}` : absent,
        pod ? podField(pod) : absent,
        quarantineMs === undefined ? absent : String(quarantineMs),
      ];
    }
    case "sticky":
      return [event.addresses.join(" "), podField(event.pod), String(event.wallMs)];
    case "freed":
      return [event.addresses.join(" "), event.why, ...momentFields(event.freed)];
  }
}

const podField = ({ namespace, name }: PodName): string => `${namespace} ${name}`;

const momentFields = ({ bootId, elapsedMs, wallMs }: Moment): readonly string[] => [
  bootId,
  String(elapsedMs),
  String(wallMs),
];

/** Undefined for a line that is no whole event of a version that is known. */
export function parseEvent(line: string): JournalEvent | undefined {
  const text = line.slice(9);
  if (line[8] !== "\t" || checksum(text) !== line.slice(0, 8)) return undefined;
  const written = text.split("\t");
  const [kind] = written;
  // A journal of 100,000 lines is read in half a second: no field is looked at twice.
  const fields = text.includes("%") ? written.slice(1).map(unescapeField) : written.slice(1);
  switch (kind) {
    case "journal":
      return fields[0] === "1" && fields[1] !== undefined
        ? { kind, generation: fields[1] }
        : undefined;
    case "given":
      return parseGiven(fields);
    case "freed":
      return parseFreed(fields);
    case "sticky":
      return parseSticky(fields);
    default:
      return undefined;
  }
}

function parseGiven(fields: readonly string[]): JournalEvent | undefined {
  const [containerId, ifName, stampText = ""] = [fields[1], fields[2], fields[3]];
  const quarantineText = fields[9] ?? "";
  const addresses = parseAddresses(fields[0] ?? "");
  const [inode = "", modified = ""] = stampText.split(" ");
  const given = parseMoment(fields[4], fields[5], fields[6]);
  if (addresses === undefined || given === undefined || !containerId || ifName === undefined) {
    return undefined;
  }
  const sandbox = parseSandbox(fields[7] ?? "");
  const pod = parsePod(fields[8] ?? "");
  const details: LeaseDetails = {
    owner: { containerId, ifName },
    stamp: { inode: Number(inode), modifiedMs: Number(modified) },
    given,
    ...(sandbox && { sandbox }),
    ...(pod && { pod }),
    ...(/^\d+$/.test(quarantineText) && { quarantineMs: Number(quarantineText) }),
  };
  return { kind: "given", addresses, details };
}

function parseSticky([addressText = "", podText = "", wall = ""]: readonly string[]):
  | JournalEvent
  | undefined {
  const addresses = parseAddresses(addressText);
  const pod = parsePod(podText);
  const wallMs = Number(wall);
  return addresses && pod && { kind: "sticky", addresses, pod, wallMs };
}

function parsePod(text: string): PodName | undefined {
  const [namespace, name] = text.split(" ");
  return namespace && name ? { namespace, name } : undefined;
}

function parseFreed([addressText = "", why = "", ...moment]: readonly string[]):
  | JournalEvent
  | undefined {
  const addresses = parseAddresses(addressText);
  const freed = parseMoment(...moment);
  return addresses && freed && { kind: "freed", addresses, why, freed };
}

function parseAddresses(text: string): readonly Ip[] | undefined {
  const only = parseIp(text);
  if (only !== undefined) return only === text ? [only] : undefined;
  const addresses = text.split(" ").flatMap((one) => parseIp(one) ?? []);
  return addresses.join(" ") === text ? addresses : undefined;
}

function parseMoment(bootId = "", elapsed = "", wall = ""): Moment | undefined {
  const elapsedMs = Number(elapsed);
  const wallMs = Number(wall);
  const isWhole = bootId !== "" && Number.isFinite(elapsedMs) && Number.isFinite(wallMs);
  return isWhole ? { bootId, elapsedMs, wallMs } : undefined;
}

function parseSandbox(text: string): SandboxName | undefined {
  const match = /^(\d+) (\d+) (.*)$/s.exec(text);
  if (match === null) return undefined;
  const [, device, inode, path = ""] = match;
  return { device: Number(device), inode: Number(inode), path };
}

const checksum = (text: string): string => crc32(text).toString(16).padStart(8, "0");

// A path may have any character. Rarely does one have to be written otherwise.
const escapeField = (text: string): string =>
  /[\t\n\r%\0]/.test(text) ? text.replaceAll(/[\t\n\r%\0]/g, encodeURIComponent) : text;

const unescapeField = (text: string): string =>
  text.includes("%")
    ? text.replaceAll(/%([0-9A-F]{2})/g, (_, code: string) =>
        String.fromCharCode(Number.parseInt(code, 16)),
      )
    : text;
