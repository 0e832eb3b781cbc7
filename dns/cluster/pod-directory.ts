// The pods as the resolver's thread knows them. No I/O: updates in, answers out.
import { type Cidr, cidrContains, type Ip } from "../../core/address.ts";
import {
  foldName,
  joinName,
  labelsOf,
  labelsWithin,
  type Name,
  parseName,
} from "../message/name.ts";
import type { PodEntry, PodsUpdate, SearchList } from "./pod-book.ts";

/** A search list whose first domain is in the cluster's. */
export interface SearchPath {
  /** Folded, in their order; at least one. */
  readonly domains: readonly Name[];
  readonly ndots: number;
}

interface KnownPod {
  readonly entry: PodEntry;
  readonly path: SearchPath | undefined;
}

/** `<network>.<domain>`, and who has which name below it. */
interface Network {
  readonly zone: Name;
  /** By the labels in front of the zone, in lower case with dots between. */
  readonly pods: Map<string, PodEntry[]>;
}

/** Of which it is another matter now whether they are withheld. */
export interface WithheldChange {
  readonly addresses: readonly Ip[];
  readonly networks: readonly Cidr[];
}

/** What an update made another matter. */
export interface PodsChange extends WithheldChange {
  /** Where another pod may ask from now, or none, or one with another search list. */
  readonly askers: ReadonlySet<string>;
  /** Networks have names that they did not have before, or may have. */
  readonly hasNewNames: boolean;
}

/** Names of the cluster's domain that are no network's. */
const otherTrees: ReadonlySet<string> = new Set(["svc", "pod", "dns", "dns-version"]);

export class PodDirectory {
  readonly #domain: Name;
  readonly #pods = new Map<string, KnownPod>();
  readonly #byAddress = new Map<string, KnownPod>();
  readonly #networks = new Map<string, Network>();
  readonly #withheld = new Set<Ip>();
  #withheldNetworks: readonly Cidr[] = [];
  /** Of the update that is being applied. */
  #askers = new Set<string>();
  #hasNewNames = false;
  /** By their text: pods of one namespace have the same. */
  readonly #paths = new Map<string, SearchPath | undefined>();

  constructor(domain: Name) {
    this.#domain = foldName(domain);
  }

  /** In their order. It costs what has changed, however many pods there are. */
  applyAll(updates: readonly PodsUpdate[]): PodsChange {
    const changes = updates.map((update) => this.apply(update));
    return {
      addresses: [...new Set(changes.flatMap(({ addresses }) => addresses))],
      networks: changes.flatMap(({ networks }) => networks),
      askers: new Set(changes.flatMap(({ askers }) => [...askers])),
      hasNewNames: changes.some(({ hasNewNames }) => hasNewNames),
    };
  }

  apply(update: PodsUpdate): PodsChange {
    const changed = new Set([...update.withheld, ...update.lifted]);
    const askers = (this.#askers = new Set());
    this.#hasNewNames = false;
    if (update.isComplete) {
      for (const address of this.#withheld) changed.add(address);
      for (const address of this.#byAddress.keys()) askers.add(address);
      for (const map of [this.#pods, this.#byAddress, this.#networks, this.#paths]) map.clear();
      this.#withheld.clear();
    }
    for (const id of update.removed) this.#remove(id);
    for (const entry of update.set) this.#set(entry);
    for (const address of update.lifted) this.#withheld.delete(address);
    for (const address of update.withheld) this.#withheld.add(address);
    const networks = this.#replaceNetworks(update.withheldNetworks);
    return { addresses: [...changed], networks, askers, hasNewNames: this.#hasNewNames };
  }

  #replaceNetworks(now: readonly Cidr[] | undefined): readonly Cidr[] {
    if (now === undefined) return [];
    const before = this.#withheldNetworks;
    this.#withheldNetworks = now;
    return [
      ...now.filter((network) => !before.includes(network)),
      ...before.filter((network) => !now.includes(network)),
    ];
  }

  /** The labels that stand in front of the domain in names of networks. */
  trees(): ReadonlySet<string> {
    return new Set(
      [...this.#networks.values()].flatMap(
        ({ zone }) => labelsWithin(zone, this.#domain)?.at(-1) ?? [],
      ),
    );
  }

  isWithheld(address: Ip): boolean {
    return (
      this.#withheld.has(address) ||
      this.#withheldNetworks.some((network) => cidrContains(network, address))
    );
  }

  /** Who asks from there. */
  podAt(address: string): PodEntry | undefined {
    return this.#byAddress.get(address)?.entry;
  }

  /** What is tried below what by the pod that asks from there. */
  searchPathOf(address: string): SearchPath | undefined {
    return this.#byAddress.get(address)?.path;
  }

  /**
   * The addresses at `<name>.<network>.<domain>`, folded; none for the network's own name, undefined
   * where there is no such name. Pods of several namespaces may have one name: then the asker's own
   * namespace goes before the others, which have it together.
   */
  addressesAt(name: Name, askerAddress: string): readonly Ip[] | undefined {
    for (const { zone, pods } of this.#networks.values()) {
      if (!name.endsWith(zone)) continue;
      const labels = labelsWithin(name, zone);
      if (labels === undefined) continue;
      if (labels.length === 0) return [];
      const all = pods.get(labels.join("."));
      if (all === undefined) return undefined;
      const own = this.podAt(askerAddress)?.pod?.namespace;
      const near = all.filter(({ pod }) => pod !== undefined && pod.namespace === own);
      const addresses = (near.length > 0 ? near : all).flatMap((entry) => entry.addresses);
      return [...new Set(addresses)].filter((address) => !this.isWithheld(address));
    }
    return undefined;
  }

  /** `<name>.<network>.<domain>` of the pod that has the address, by its first name. */
  nameOf(address: Ip): Name | undefined {
    const entry = this.podAt(address);
    const name = entry && namesOf(entry)[0];
    const zone = entry && this.#networks.get(entry.network)?.zone;
    if (name === undefined || zone === undefined || this.isWithheld(address)) return undefined;
    return joinName(name.split("."), zone);
  }

  #set(entry: PodEntry): void {
    this.#remove(entry.id);
    const known = { entry, path: entry.search && this.#pathOf(entry.search) };
    this.#pods.set(entry.id, known);
    for (const address of entry.addresses) {
      this.#byAddress.set(address, known);
      this.#askers.add(address);
    }
    const network = this.#networkOf(entry.network);
    for (const name of network === undefined ? [] : namesOf(entry)) {
      const others = network?.pods.get(name);
      if (others === undefined) this.#hasNewNames = true;
      network?.pods.set(name, [...(others ?? []), entry]);
    }
  }

  #remove(id: string): void {
    const known = this.#pods.get(id);
    if (known === undefined) return;
    const { entry } = known;
    this.#pods.delete(id);
    for (const address of entry.addresses) {
      // By now it may be another's.
      if (this.#byAddress.get(address) !== known) continue;
      this.#byAddress.delete(address);
      this.#askers.add(address);
    }
    const network = this.#networks.get(entry.network);
    if (network === undefined) return;
    for (const name of namesOf(entry)) {
      const others = (network.pods.get(name) ?? []).filter((other) => other.id !== id);
      if (others.length > 0) network.pods.set(name, others);
      else network.pods.delete(name);
    }
    if (network.pods.size > 0) return;
    this.#networks.delete(entry.network);
    // Another network may have had them, behind the domain of this one.
    this.#hasNewNames = true;
  }

  #networkOf(network: string): Network | undefined {
    const known = this.#networks.get(network);
    if (known !== undefined) return known;
    const own = parseName(network);
    const labels = own === undefined ? [] : labelsOf(foldName(own));
    const zone = labels.length === 0 ? undefined : joinName(labels, this.#domain);
    // A network whose name is taken has no names.
    if (zone === undefined || otherTrees.has(labels.at(-1) ?? "")) return undefined;
    const made: Network = { zone, pods: new Map() };
    this.#networks.set(network, made);
    this.#hasNewNames = true;
    return made;
  }

  #pathOf({ domains, ndots }: SearchList): SearchPath | undefined {
    const key = `${ndots} ${domains.join(" ")}`;
    if (this.#paths.has(key)) return this.#paths.get(key);
    const names = domains.flatMap((domain) => parseName(domain) ?? []).map(foldName);
    const [first] = names;
    const isOurs = first !== undefined && labelsWithin(first, this.#domain) !== undefined;
    const path = isOurs && names.length === domains.length ? { domains: names, ndots } : undefined;
    if (this.#paths.size >= maxPaths) this.#paths.clear();
    this.#paths.set(key, path);
    return path;
  }
}

const maxPaths = 4096;

/** The pod's own name, then its aliases, each once. */
const namesOf = ({ pod, aliases }: PodEntry): readonly string[] => [
  ...new Set([...(pod === undefined ? [] : [pod.name]), ...aliases]),
];
