// What the record files say, as last seen. Others may change them, as a request without the daemon does:
// the directory tells that one came, went or was replaced, and then each is looked at. While it tells
// nothing, a look costs one stat, however many there are.
import { type Stats, mkdirSync, readdirSync, statSync } from "node:fs";
import { basename } from "node:path";
import type { Ip } from "../core/address.ts";
import type { Clock } from "../core/clock.ts";
import type { HostPortHolder } from "../core/desired/host-ports.ts";
import { type AttachmentKey, interfacePrefix } from "../core/names.ts";
import { type AttachmentRecord, type RecordFile, readRecord } from "./record-file.ts";

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

interface KnownFile {
  readonly version: string;
  readonly file: RecordFile;
}

/** The files as they were when the directory was in this state. */
interface Look {
  readonly directory: string;
  readonly atMs: number;
  /** Another change gives another state. */
  readonly isSettled: boolean;
}

// Older kernels count a directory's times in ticks of up to 10 ms: two changes in one look like one.
const settledMs = 50;
/** What the directory does not tell, a file that was written in place, is found within this time. */
const trustedForMs = 10_000;
/** For who asks for several things in one pass. */
const sharedForMs = 100;

export class RecordIndex {
  readonly #directory: string;
  readonly #clock: Clock;
  /** By path. */
  readonly #files = new Map<string, KnownFile>();
  /** The paths of those that claim it, by port. */
  readonly #claimants = new Map<number, Set<string>>();
  #looked: Look | undefined;
  #list: RecordList | undefined;
  #claims: readonly HostPortClaim[] | undefined;
  readonly #addresses = new Map<string, readonly Ip[]>();

  constructor(directory: string, clock: Clock) {
    this.#directory = directory;
    this.#clock = clock;
  }

  /** The same object as before while no record is another. */
  list(): RecordList {
    this.#look();
    return (this.#list ??= this.#makeList());
  }

  claims(): readonly HostPortClaim[] {
    this.#look();
    return (this.#claims ??= this.#claimsOf(this.#claimants.keys()));
  }

  /** As far as the last look and what was noted since tell. */
  claimantsOf(ports: readonly number[]): readonly HostPortClaim[] {
    if (this.#looked === undefined) this.#look();
    return this.#claimsOf(ports);
  }

  #claimsOf(ports: Iterable<number>): readonly HostPortClaim[] {
    const paths = new Set([...ports].flatMap((port) => [...(this.#claimants.get(port) ?? [])]));
    return [...paths]
      .flatMap((path) => this.#claimIn(path) ?? [])
      .sort((a, b) => a.createdAtMs - b.createdAtMs);
  }

  podAddresses(network: string): readonly Ip[] {
    const { records } = this.list();
    const known = this.#addresses.get(network);
    if (known !== undefined) return known;
    const found = records.flatMap(({ key, wired }) =>
      key.network === network ? (wired?.wiring.addresses ?? []) : [],
    );
    this.#addresses.set(network, found);
    return found;
  }

  /** A file that is the known one is not read again. */
  load(path: string): RecordFile {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found === undefined) {
      this.forget(path);
      return { kind: "absent" };
    }
    const version = versionOf(found);
    const known = this.#files.get(path);
    if (known?.version === version) return known.file;
    const file = readRecord(path);
    this.note(path, version, file);
    return file;
  }

  /** As this process has just written or read it. */
  note(path: string, version: string, file: RecordFile): void {
    this.forget(path);
    this.#files.set(path, { version, file });
    for (const port of portsIn(file)) {
      const others = this.#claimants.get(port);
      if (others === undefined) this.#claimants.set(port, new Set([path]));
      else others.add(path);
      this.#claims = undefined;
    }
  }

  /** It is gone. */
  forget(path: string): void {
    this.#list = undefined;
    this.#addresses.clear();
    const known = this.#files.get(path);
    this.#files.delete(path);
    for (const port of known === undefined ? [] : portsIn(known.file)) {
      const others = this.#claimants.get(port);
      others?.delete(path);
      if (others?.size === 0) this.#claimants.delete(port);
      this.#claims = undefined;
    }
  }

  makeDirectory(): void {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
  }

  #look(): void {
    const { directory, isSettled } = this.#state();
    const atMs = this.#clock.monotonicMs();
    const last = this.#looked;
    const isKnown = last?.directory === directory;
    if (isKnown && atMs - last.atMs < (last.isSettled ? trustedForMs : sharedForMs)) return;
    const gone = new Set(this.#files.keys());
    for (const name of readdirSync(this.#directory)) {
      if (!name.endsWith(".json")) continue;
      const path = `${this.#directory}/${name}`;
      this.load(path);
      gone.delete(path);
    }
    for (const path of gone) this.forget(path);
    this.#looked = { directory, atMs, isSettled };
  }

  #state(): Pick<Look, "directory" | "isSettled"> {
    const found = statSync(this.#directory, { bigint: true, throwIfNoEntry: false });
    if (found === undefined) {
      this.makeDirectory();
      return { directory: "", isSettled: false };
    }
    const { dev, ino, ctimeNs } = found;
    const ageMs = this.#clock.nowMs() - Number(ctimeNs / 1_000_000n);
    return { directory: `${dev} ${ino} ${ctimeNs}`, isSettled: ageMs > settledMs };
  }

  #makeList(): RecordList {
    const records: AttachmentRecord[] = [];
    const unreadable: UnreadableRecord[] = [];
    for (const path of [...this.#files.keys()].sort()) {
      const file = this.#files.get(path)?.file;
      if (file?.kind === "record") records.push(file.record);
      if (file?.kind !== "unreadable") continue;
      const interfaceName = `${interfacePrefix}${basename(path, ".json")}`;
      unreadable.push({ path, problem: file.problem, interfaceName });
    }
    return { records, unreadable };
  }

  #claimIn(path: string): HostPortClaim | undefined {
    const file = this.#files.get(path)?.file;
    if (file?.kind !== "record" || file.record.wired === undefined) return undefined;
    const { key, createdAtMs, wired } = file.record;
    const { addresses, portMappings } = wired.wiring;
    return portMappings && { key, createdAtMs, addresses, portMappings };
  }
}

const portsIn = (file: RecordFile): readonly number[] =>
  file.kind === "record"
    ? (file.record.wired?.wiring.portMappings ?? []).map(({ hostPort }) => hostPort)
    : [];

/** Records are written by rename, so that another one is another inode. */
export const versionOf = ({ ino, mtimeMs, size }: Stats): string => `${ino} ${mtimeMs} ${size}`;
