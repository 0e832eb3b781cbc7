// One file per attachment under /run/fairlead/attachments: what CHECK, GC and a repeated ADD rest on,
// and how the daemon finds at start what a killed request left behind. Written before the kernel is
// touched, by rename, so that a reader sees a whole file or none.
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import * as v from "valibot";
import type { Ip } from "../core/address.ts";
import type { Clock } from "../core/clock.ts";
import { CniCode, CniError } from "../core/cni/error.ts";
import type { PodName } from "../core/cni/pod-name.ts";
import type { Dns } from "../core/cni/types.ts";
import type { HostPortHolder } from "../core/desired/host-ports.ts";
import { describeError, hasErrno } from "../core/error.ts";
import type { Log } from "../core/log.ts";
import { type AttachmentKey, attachmentHash, interfacePrefix } from "../core/names.ts";
import { cidrSchema, ipSchema, macSchema, oneOf, portSchema, wholeNumber } from "../core/schema.ts";
import { transportProtocols } from "../core/port-mapping.ts";
import { type LockWait, openLock, tryLock } from "../kernel/flock.ts";
import type { FileLock, NamespaceIdentity } from "../kernel/kernel.ts";
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

export interface RecordStore {
  /** The attachment's record; undefined when there is none, or none that can be read (logged). */
  read(key: AttachmentKey): AttachmentRecord | undefined;
  /** Every record, and the files that are none. */
  list(): RecordList;
  /**
   * The attachments that claim host ports, those first that began first. Reads only the files that
   * have changed since the last call.
   */
  hostPortClaims(): readonly HostPortClaim[];
  /** Of every attachment to the network that has got its addresses. */
  podAddresses(network: string): readonly Ip[];
  write(record: AttachmentRecord): void;
  /** Removes all that is kept of the attachment. Nothing kept is no failure. */
  remove(key: AttachmentKey): void;
  /** Removes what killed requests left beside records. Only while no request is at work. */
  removeStrays(): void;
  /**
   * Excludes every other request for the attachment, in this process and others. Throws CniError
   * tryAgainLater when another one takes too long.
   */
  lock(key: AttachmentKey, signal: AbortSignal): Promise<FileLock>;
  /** As `lock`, but undefined at once while a request for the attachment is at work. */
  tryLock(key: AttachmentKey): FileLock | undefined;
}

export interface HostPortClaim extends HostPortHolder {
  readonly key: AttachmentKey;
  readonly createdAtMs: number;
}

export interface RecordList {
  readonly records: readonly AttachmentRecord[];
  readonly unreadable: readonly UnreadableRecord[];
}

export interface UnreadableRecord {
  readonly path: string;
  readonly problem: string;
  /** The host interface that an attachment of the file's name has. */
  readonly interfaceName: string;
}

export interface RecordOptions {
  readonly directory: string;
  readonly clock: Clock;
  readonly log: Log;
  /** How long a request waits for another one of the same attachment. */
  readonly lockDeadlineMs?: number;
}

const recordVersion = 1;
// Below the 20 s that a whole request may take: who waits still gets an answer of its own.
const defaultLockDeadlineMs = 10_000;

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

/** Makes the directory when it is used and missing; only root may read it. */
export const openRecords = (options: RecordOptions): RecordStore => new RecordDirectory(options);

class RecordDirectory implements RecordStore {
  readonly #options: RecordOptions;
  #wired = new Map<string, WiredFile>();

  constructor(options: RecordOptions) {
    this.#options = options;
  }

  hostPortClaims(): readonly HostPortClaim[] {
    return this.#wiredAttachments()
      .flatMap(({ portMappings, ...claim }) => (portMappings ? [{ ...claim, portMappings }] : []))
      .sort((a, b) => a.createdAtMs - b.createdAtMs);
  }

  podAddresses(network: string): readonly Ip[] {
    return this.#wiredAttachments().flatMap(({ key, addresses }) =>
      key.network === network ? addresses : [],
    );
  }

  #wiredAttachments(): readonly WiredAttachment[] {
    const known = this.#wired;
    this.#wired = new Map();
    for (const path of this.#files(/\.json$/)) {
      const found = statSync(path, { throwIfNoEntry: false });
      if (found === undefined) continue;
      // Records are written by rename, so that another one is another inode.
      const version = `${found.ino} ${found.mtimeMs} ${found.size}`;
      const before = known.get(path);
      this.#wired.set(
        path,
        before?.version === version ? before : { version, found: wiredIn(readRecord(path)) },
      );
    }
    return [...this.#wired.values()].flatMap(({ found }) => found ?? []);
  }

  read(key: AttachmentKey): AttachmentRecord | undefined {
    const path = this.#pathOf(key, "json");
    const file = readRecord(path);
    if (file.kind === "record") return file.record;
    if (file.kind === "unreadable") {
      const { problem } = file;
      this.#options.log.warn({ path, problem }, "attachment record is unreadable: taken as absent");
    }
    return undefined;
  }

  list(): RecordList {
    const records: AttachmentRecord[] = [];
    const unreadable: UnreadableRecord[] = [];
    for (const path of this.#files(/\.json$/)) {
      const file = readRecord(path);
      if (file.kind === "record") records.push(file.record);
      if (file.kind !== "unreadable") continue;
      const interfaceName = `${interfacePrefix}${basename(path, ".json")}`;
      unreadable.push({ path, problem: file.problem, interfaceName });
    }
    return { records, unreadable };
  }

  write(record: AttachmentRecord): void {
    // The attachment's lock is held, so that nobody else writes the same temporary file.
    const temporary = this.#pathOf(record.key, "tmp");
    const text = JSON.stringify({ version: recordVersion, ...record });
    try {
      writeFileSync(temporary, text, { mode: 0o600 });
      renameSync(temporary, this.#pathOf(record.key, "json"));
    } catch (cause) {
      throw this.#failure(cause);
    }
  }

  remove(key: AttachmentKey): void {
    for (const suffix of ["json", "tmp"]) removeFile(this.#pathOf(key, suffix));
  }

  removeStrays(): void {
    for (const path of this.#files(/^[0-9a-f]{12}\.(lock|tmp)$/)) removeFile(path);
  }

  tryLock(key: AttachmentKey): FileLock | undefined {
    const lock = tryLock(this.#pathOf(key, "lock"), "exclusive");
    return lock && removedWhenDone(lock);
  }

  async lock(key: AttachmentKey, signal: AbortSignal): Promise<FileLock> {
    const { clock, lockDeadlineMs: deadlineMs = defaultLockDeadlineMs } = this.#options;
    const wait = { deadlineMs, clock, signal };
    try {
      return removedWhenDone(await this.#openLock(this.#pathOf(key, "lock"), wait));
    } catch (cause) {
      if (signal.aborted) throw cause;
      if (!hasErrno(cause, "ETIMEDOUT")) throw this.#failure(cause);
      throw new CniError(
        CniCode.tryAgainLater,
        `Cannot begin: another request for container "${key.containerId}" interface "${key.ifName}" is still at work after ${deadlineMs} ms`,
        { cause },
      );
    }
  }

  #failure(cause: unknown): CniError {
    return new CniError(
      CniCode.ioFailure,
      `Cannot keep the attachment's record in "${this.#options.directory}"`,
      { cause, details: describeError(cause) },
    );
  }

  async #openLock(path: string, wait: LockWait): Promise<FileLock> {
    try {
      return await openLock(path, "exclusive", wait);
    } catch (cause) {
      if (!hasErrno(cause, "ENOENT")) throw cause;
      // Every request begins here. The directory may have been removed since the last one.
      this.#makeDirectory();
      return openLock(path, "exclusive", wait);
    }
  }

  #makeDirectory(): void {
    mkdirSync(this.#options.directory, { recursive: true, mode: 0o700 });
  }

  #pathOf(key: AttachmentKey, suffix: string): string {
    return join(this.#options.directory, `${attachmentHash(key)}.${suffix}`);
  }

  #files(pattern: RegExp): string[] {
    const { directory } = this.#options;
    this.#makeDirectory();
    const names = readdirSync(directory).filter((name) => pattern.test(name));
    return names.sort().map((name) => join(directory, name));
  }
}

// A lock on a file that its holder removed counts for nobody (kernel/flock.ts), so none need stay.
const removedWhenDone = (lock: FileLock): FileLock => ({
  path: lock.path,
  [Symbol.dispose]: () => {
    unlinkIfThere(lock.path);
    lock[Symbol.dispose]();
  },
});

/** What the daemon asks about at every pass. */
type WiredAttachment = Omit<HostPortClaim, "portMappings"> &
  Partial<Pick<HostPortClaim, "portMappings">>;

interface WiredFile {
  readonly version: string;
  readonly found: WiredAttachment | undefined;
}

function wiredIn(file: RecordFile): WiredAttachment | undefined {
  if (file.kind !== "record" || file.record.wired === undefined) return undefined;
  const { key, createdAtMs, wired } = file.record;
  const { addresses, portMappings } = wired.wiring;
  return { key, createdAtMs, addresses, ...(portMappings && { portMappings }) };
}

// rmSync does the same in three times the time: it looks twice at what it removes.
function removeFile(path: string): void {
  if (existsSync(path)) unlinkIfThere(path);
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (cause) {
    if (!hasErrno(cause, "ENOENT")) throw cause;
  }
}

type RecordFile =
  | { readonly kind: "record"; readonly record: AttachmentRecord }
  | { readonly kind: "absent" }
  | { readonly kind: "unreadable"; readonly problem: string };

function readRecord(path: string): RecordFile {
  // The usual case of an ADD, and an exception costs four times as much.
  if (!existsSync(path)) return { kind: "absent" };
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
