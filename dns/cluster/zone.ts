import { familyOf, type Ip, isIpv4, parseIp } from "../../core/address.ts";
import type { Random } from "../../core/clock.ts";
import { objectKey } from "../../core/cluster/model.ts";
import {
  type Question,
  RecordClass,
  type RecordData,
  RecordType,
  type ResourceRecord,
} from "../message/message.ts";
import { foldName, joinName, labelsWithin, type Name } from "../message/name.ts";
import { addressOfReverseName, privateReverseZoneOf } from "../message/reverse.ts";
import type { WithheldChange } from "./pod-directory.ts";
import { type IndexedService, type IsWithheld, ServiceIndex } from "./service-index.ts";
import { addressSets, type RecordSets, recordsAt } from "./service-records.ts";
import type { ZoneUpdate } from "./zone-feed.ts";

/** What answers `<dashed address>.<namespace>.pod.<domain>`: see dns/README.md. */
export type PodNames = "insecure" | "verified" | "disabled";

export interface ZoneOptions {
  readonly domain: Name;
  /** Seconds. */
  readonly ttl: number;
  /** Other TTLs for names, folded, of some domains. */
  readonly ttlOf?: (name: Name) => number | undefined;
  readonly pods: PodNames;
  /** The addresses of `ns.dns.<domain>`: where this resolver is asked. */
  readonly nameservers: readonly Ip[];
  /** Endpoints at these addresses count as not ready; default: none. */
  readonly isWithheld?: IsWithheld;
  /** Of how many services the records are kept that were made for a question; default: of all. */
  readonly mostRecords?: number;
}

export type ZoneAnswer =
  | {
      readonly kind: "records";
      readonly answers: readonly ResourceRecord[];
      readonly additionals: readonly ResourceRecord[];
      /** The answer is that of this service, and of nothing else. */
      readonly service?: Name;
    }
  /** An ExternalName service: whoever asked for anything else than the CNAME goes on at `target`. */
  | { readonly kind: "alias"; readonly record: ResourceRecord; readonly target: Name }
  /** The name exists, with other types than asked. */
  | { readonly kind: "nodata"; readonly soa: ResourceRecord; readonly service?: Name }
  | { readonly kind: "nxdomain"; readonly soa: ResourceRecord; readonly service?: Name }
  /** It is not known yet: the source has not delivered all it has. */
  | { readonly kind: "unready" }
  /** Another's name. */
  | { readonly kind: "outside" };

// What a name has: records, names below it only (empty), nothing (undefined), or it is not known yet.
type Found = RecordSets | "unready" | undefined;

const versionTtl = 28_800;
const noRecords: RecordSets = new Map();

/** The cluster's domain and the reverse names of its addresses. No I/O: updates in, answers out. */
export class Zone {
  readonly #options: ZoneOptions;
  readonly #domain: Name;
  readonly #nameserver: Name;
  readonly #mailbox: Name;
  readonly #services: ServiceIndex;
  #namespaces: ReadonlySet<string> = new Set();
  #pods: ReadonlySet<string> = new Set();
  #revision = 0;
  #isInSync = false;

  constructor(options: ZoneOptions) {
    this.#options = options;
    this.#domain = foldName(options.domain);
    const { isWithheld = () => false, mostRecords = Infinity } = options;
    this.#services = new ServiceIndex(this.#domain, isWithheld, mostRecords);
    this.#nameserver = joinName(["ns", "dns"], this.#domain) ?? this.#domain;
    this.#mailbox = joinName(["hostmaster"], this.#domain) ?? this.#domain;
  }

  /** All of the update, or nothing of it, is in the next answer. */
  apply(update: ZoneUpdate): void {
    if (update.isComplete) this.#services.clear();
    for (const key of update.removed) this.#services.remove(key);
    for (const source of update.services) this.#services.set(source);
    if (update.namespaces !== undefined) {
      this.#namespaces = new Set(update.namespaces.map((name) => name.toLowerCase()));
    }
    if (update.pods !== undefined) this.#pods = new Set(update.pods);
    this.#revision = update.revision;
    this.#isInSync = update.isInSync;
  }

  /** Whether endpoints at these addresses are withheld is another matter now. Keys of their services. */
  refresh(change: WithheldChange): ReadonlySet<string> {
    return this.#services.refresh(change);
  }

  /** For what a name of the domain, folded, has not. */
  soa(name: Name): ResourceRecord {
    return this.#soa(this.#domain, name);
  }

  /** What the cluster says about a question of class IN. Sets of several records start anywhere. */
  lookup(question: Question, random: Random): ZoneAnswer {
    const name = foldName(question.name);
    const labels = labelsWithin(name, this.#domain);
    if (labels === undefined) return this.#lookupReverse(question, name, random);
    const tree = labels.pop();
    const service = tree === "svc" ? this.#serviceOf(labels) : undefined;
    const alias = service?.records.alias;
    if (alias !== undefined && labels.length === 2) return this.#aliasAnswer(question, alias);
    const found = this.#find(tree, labels, service);
    if (found === "unready") return { kind: "unready" };
    const owner = service && { service: service.name };
    if (found === undefined)
      return { kind: "nxdomain", soa: this.#soa(this.#domain, name), ...owner };
    const ttl = tree === "dns-version" ? versionTtl : this.#ttlOf(name);
    const answers = recordsOf(question, rotate(found.get(question.type) ?? [], random), ttl);
    if (answers.length > 0) {
      return { kind: "records", answers, additionals: this.#glue(answers, service), ...owner };
    }
    // A headless service's slice of the family asked for may still be to come.
    if (!this.#isInSync && service?.isHeadless) return { kind: "unready" };
    return { kind: "nodata", soa: this.#soa(this.#domain, name), ...owner };
  }

  #find(
    tree: string | undefined,
    labels: readonly string[],
    service: IndexedService | undefined,
  ): Found {
    switch (tree) {
      case undefined:
        return this.#apex();
      case "svc":
        return this.#findService(labels, service) ?? this.#missing();
      case "pod":
        return this.#findPod(labels);
      case "dns":
        return this.#findNameserver(labels);
      case "dns-version":
        return labels.length === 0 ? versionRecords : undefined;
      default:
        return undefined;
    }
  }

  // Before all services are known, none is known to be missing.
  #missing(): Found {
    return this.#isInSync ? undefined : "unready";
  }

  #apex(): RecordSets {
    return new Map<number, readonly RecordData[]>([
      [RecordType.SOA, [this.#soaData(this.#ttlOf(this.#domain))]],
      [RecordType.NS, [{ kind: "name", name: this.#nameserver }]],
    ]);
  }

  #findNameserver(labels: readonly string[]): Found {
    if (labels.length === 0) return noRecords;
    return labels.length === 1 && labels[0] === "ns"
      ? addressSets(this.#options.nameservers)
      : undefined;
  }

  // Labels are those in front of svc: [..., service, namespace].
  #findService(labels: readonly string[], service: IndexedService | undefined): Found {
    if (labels.length === 0) return noRecords;
    if (labels.length === 1) return this.#namespaces.has(labels[0] ?? "") ? noRecords : undefined;
    return service && recordsAt(service.records, labels.slice(0, -2));
  }

  #serviceOf(labels: readonly string[]): IndexedService | undefined {
    if (labels.length < 2) return undefined;
    return this.#services.get(labels.at(-1) ?? "", labels.at(-2) ?? "");
  }

  #findPod(labels: readonly string[]): Found {
    if (this.#options.pods === "disabled") return undefined;
    if (labels.length === 0) return noRecords;
    const namespace = labels.at(-1) ?? "";
    if (!this.#namespaces.has(namespace)) return this.#missing();
    if (labels.length === 1) return noRecords;
    const address = labels.length === 2 ? addressOfDashes(labels[0] ?? "") : undefined;
    if (address === undefined) return undefined;
    const isKnown =
      this.#options.pods === "insecure" || this.#pods.has(objectKey(namespace, address));
    return isKnown ? addressSets([address]) : this.#missing();
  }

  #lookupReverse(question: Question, name: Name, random: Random): ZoneAnswer {
    const address = addressOfReverseName(name);
    const names = address === undefined ? [] : this.#services.namesOf(address);
    if (names.length === 0) {
      const mayBeOurs = !this.#isInSync && privateReverseZoneOf(name) !== undefined;
      return { kind: mayBeOurs ? "unready" : "outside" };
    }
    // The SOA claims this one name and nothing beside it: the tree around it is another's.
    if (question.type !== RecordType.PTR) return { kind: "nodata", soa: this.#soa(name, name) };
    const data = names.map((target): RecordData => ({ kind: "name", name: target }));
    const answers = recordsOf(question, rotate(data, random), this.#ttlOf(name));
    return { kind: "records", answers, additionals: [] };
  }

  #aliasAnswer(question: Question, target: Name): ZoneAnswer {
    const record: ResourceRecord = {
      name: question.name,
      type: RecordType.CNAME,
      class: RecordClass.IN,
      ttl: this.#ttlOf(foldName(question.name)),
      data: { kind: "name", name: target },
    };
    return { kind: "alias", record, target };
  }

  // The addresses of the hosts that SRV and NS records name.
  #glue(answers: readonly ResourceRecord[], service: IndexedService | undefined): ResourceRecord[] {
    const glue: ResourceRecord[] = [];
    const done = new Set<Name>();
    for (const { data } of answers) {
      const target = glueTarget(data);
      if (target === undefined || done.has(target)) continue;
      done.add(target);
      const sets = this.#addressesAt(target, service);
      for (const type of [RecordType.A, RecordType.AAAA]) {
        const owner = { name: target, type, class: RecordClass.IN };
        glue.push(...recordsOf(owner, sets.get(type) ?? [], this.#ttlOf(target)));
      }
    }
    return glue;
  }

  #addressesAt(target: Name, service: IndexedService | undefined): RecordSets {
    if (target === this.#nameserver) return addressSets(this.#options.nameservers);
    const labels = service && labelsWithin(target, service.name);
    return (labels && recordsAt(service.records, labels)) ?? noRecords;
  }

  #ttlOf(name: Name): number {
    return this.#options.ttlOf?.(name) ?? this.#options.ttl;
  }

  // With a negative answer about `name`.
  #soa(owner: Name, name: Name): ResourceRecord {
    const ttl = this.#ttlOf(name);
    const data = this.#soaData(ttl);
    return { name: owner, type: RecordType.SOA, class: RecordClass.IN, ttl, data };
  }

  // The minimum is how long a negative answer may be kept (RFC 2308): as long as a positive one.
  #soaData(ttl: number): RecordData {
    return {
      kind: "soa",
      primary: this.#nameserver,
      mailbox: this.#mailbox,
      serial: this.#revision >>> 0,
      refresh: 7200,
      retry: 1800,
      expire: 86_400,
      minimum: ttl,
    };
  }
}

const versionRecords: RecordSets = new Map([
  [RecordType.TXT, [{ kind: "txt", strings: ["1.1.0"] }]],
]);

function glueTarget(data: RecordData): Name | undefined {
  if (data.kind === "srv") return data.target;
  return data.kind === "name" ? data.name : undefined;
}

const recordsOf = (owner: Question, data: readonly RecordData[], ttl: number): ResourceRecord[] =>
  data.map((data) => ({
    name: owner.name,
    type: owner.type,
    class: RecordClass.IN,
    ttl,
    data,
  }));

// Clients take the first address: each must be first equally often.
function rotate<T>(list: readonly T[], random: Random): readonly T[] {
  if (list.length < 2) return list;
  const start = random.below(list.length);
  return [...list.slice(start), ...list.slice(0, start)];
}

// The address of a pod's label: `10-244-1-7`, `fd00-10-244-1--7`.
function addressOfDashes(label: string): Ip | undefined {
  const ipv4 = parseIp(label.replaceAll("-", "."));
  if (ipv4 !== undefined) return isIpv4(ipv4) ? ipv4 : undefined;
  if (!/^[0-9a-f-]+$/.test(label)) return undefined;
  const ipv6 = parseIp(label.replaceAll("-", ":"));
  return ipv6 !== undefined && familyOf(ipv6) === 6 ? ipv6 : undefined;
}
