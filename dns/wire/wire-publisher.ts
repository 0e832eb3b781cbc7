import { ipToBytes, parseIp } from "../../core/address.ts";
import { partsOfKey } from "../../core/cluster/model.ts";
import type { SearchingClient } from "../clients/searching-clients.ts";
import type { SearchPath } from "../cluster/pod-directory.ts";
import type { ZoneUpdate } from "../cluster/zone-feed.ts";
import type { Answer, Reuse } from "../handlers/resolver.ts";
import type { SiteNames } from "../handlers/site-names.ts";
import { isTruncated } from "../message/message.ts";
import { foldName, labelsOf, labelsWithin, type Name, nameOfLabels } from "../message/name.ts";
import { hashOctets } from "../message/wire-hash.ts";
import { none, ServiceMarks } from "./service-marks.ts";
import { keptAnswer } from "./wire-answer.ts";
import { Variant, WireQuestion } from "./wire-question.ts";
import { denialFrom, type WireUpdate } from "./wire-update.ts";

export interface WirePublisherOptions {
  readonly domain: Name;
  readonly seed: number;
  readonly site: Pick<SiteNames, "rewrites" | "ttls">;
  readonly publish: (update: WireUpdate) => void;
}

/**
 * Hands over what may be answered without the responder: its own answers, as far as they say what they
 * rest on, and of the zone which services there are. A service that changes gets another mark, and what
 * rests on the old one is not given any more.
 */
export class WirePublisher {
  readonly #domain: Name;
  readonly #seed: number;
  readonly #publish: (update: WireUpdate) => void;
  readonly #question: WireQuestion;
  /** One denial fits all names: none may be rewritten to one that is there, none has a TTL of its own. */
  readonly #isDenialSafe: boolean;
  #namespaces: ReadonlyMap<string, number> = new Map();
  readonly #marks = new ServiceMarks();
  /** How many names there are more than one, of hashes that several names share. */
  readonly #others = new Map<number, number>();
  readonly #knownDenials = new Set<number>();
  /** Lists that are walked, by the pod's address, and the number of each: pods of a namespace share one. */
  readonly #searching = new Map<string, SearchPath>();
  readonly #paths = new WeakMap<SearchPath, number>();
  #lastPath = 0;
  /** A name has come, or may have, since it was last told. */
  #hasNewNames = false;
  #trees: ReadonlySet<string> = new Set();
  #lastMark = 0;
  #serial = 0;
  #isInSync = false;

  constructor({ domain, seed, site, publish }: WirePublisherOptions) {
    this.#domain = foldName(domain);
    this.#seed = seed;
    this.#publish = publish;
    this.#question = new WireQuestion(seed);
    this.#isDenialSafe =
      !site.rewrites.some(({ from }) => meets(foldName(from), this.#domain)) &&
      !site.ttls.some(({ domain }) => isBelow(foldName(domain), this.#domain));
  }

  /** The zone has the update. */
  applyZone(update: ZoneUpdate): void {
    const changed = new Set<number>();
    if (update.isComplete) this.#clear();
    for (const key of update.removed) this.#remove(this.#hashOfService(key), changed);
    for (const key of update.added) this.#add(this.#hashOfService(key), changed);
    for (const { service } of update.services) {
      const hash = this.#hashOf([service.name, service.namespace]);
      if (update.isComplete) this.#add(hash, changed);
      else if (hash !== undefined) changed.add(hash);
    }
    if (update.namespaces !== undefined) this.#setNamespaces(update.namespaces, changed);
    // Names of pods have no marks.
    if (update.pods !== undefined) this.#hasNewNames = true;
    this.#serial = update.revision >>> 0;
    this.#isInSync = update.isInSync;
    this.#publishZone(update.isComplete, changed);
  }

  #publishZone(isComplete: boolean, changed: ReadonlySet<number>): void {
    this.#publish({
      kind: "zone",
      isComplete,
      marks: this.#marked(changed),
      serial: this.#serial,
      isInSync: this.#isInSync,
      mayDeny: this.#isDenialSafe,
      hasNewNames: this.#hasNewNames,
    });
    this.#hasNewNames = false;
  }

  /** The answers of these services changed, though the services did not. */
  refreshServices(keys: ReadonlySet<string>): void {
    const hashes = new Set([...keys].flatMap((key) => this.#hashOfService(key) ?? []));
    if (hashes.size === 0) return;
    this.#publishZone(false, hashes);
  }

  /**
   * Below which labels networks have names, and of these addresses, which may be other pods' by now, the
   * search lists that are walked; whether networks have names that they did not have.
   */
  changePods(
    trees: ReadonlySet<string>,
    askers: Iterable<readonly [string, SearchPath | undefined]>,
    hasNewNames: boolean,
  ): void {
    const searching: SearchingClient[] = [];
    const gone: Uint8Array[] = [];
    for (const [text, path] of askers) {
      const address = path === this.#searching.get(text) ? undefined : addressOctets(text);
      if (address === undefined) continue;
      if (path === undefined) {
        this.#searching.delete(text);
        gone.push(address);
      } else {
        this.#searching.set(text, path);
        const domain = Uint8Array.from(Buffer.from(path.domains[0] ?? "", "latin1"));
        searching.push({ address, domain, path: this.#numberOf(path) });
      }
    }
    const areSame = trees.size === this.#trees.size && trees.isSubsetOf(this.#trees);
    // To tell of nothing would wake a thread.
    if (areSame && searching.length + gone.length === 0 && !hasNewNames) return;
    this.#trees = trees;
    const labels = Int32Array.from([...trees].flatMap((label) => this.#hashOf([label]) ?? []));
    this.#publish({ kind: "pods", trees: labels, searching, gone, hasNewNames });
  }

  #numberOf(path: SearchPath): number {
    const known = this.#paths.get(path) ?? ++this.#lastPath;
    this.#paths.set(path, known);
    return known;
  }

  /** Other upstreams are asked from now on. */
  forgetOutside(): void {
    this.#publish({ kind: "forget-outside" });
  }

  /** The responder gave this answer to a query over UDP. */
  answered(packet: Uint8Array, answer: Answer, octets: Uint8Array): void {
    const { reuse } = answer;
    if (reuse === undefined || !this.#question.read(packet, 0, packet.length)) return;
    const { name, nameLength, variant } = this.#question;
    // What was asked on behalf of another question is no answer to this one.
    if (Buffer.from(name.subarray(0, nameLength)).toString("latin1") !== foldName(reuse.name))
      return;
    if (!isWhole(answer, octets, variant)) return;
    switch (reuse.kind) {
      case "service":
        return this.#keepServices(reuse.service, octets, variant);
      case "absent":
        return this.#keepDenial(octets, variant);
      case "cached": {
        const parts = { octets, variant, mayTurn: false, ages: true };
        const record = isReverse(reuse.name) ? undefined : keptAnswer(parts);
        if (record === undefined) return;
        const { untilMs, endMs } = reuse;
        const stored = { octets: record, mark: 0, untilMs, endMs };
        return this.#publish({ kind: "answer", of: "outside", answer: stored });
      }
      case "walked":
        return this.#keepWalked(reuse, octets, variant);
    }
  }

  #keepServices(service: Name, octets: Uint8Array, variant: number): void {
    const known = this.#markOf(service);
    const record = keptAnswer({ octets, variant, mayTurn: true, ages: false });
    if (known === undefined || record === undefined) return;
    const answer = { octets: record, mark: known.mark, untilMs: Infinity, endMs: Infinity };
    this.#publish({ kind: "answer", of: "cluster", answer });
  }

  #keepWalked(
    { path, found, untilMs }: Extract<Reuse, { kind: "walked" }>,
    octets: Uint8Array,
    variant: number,
  ): void {
    // What is found nowhere is denied as for everybody.
    if (found === undefined) this.#keepDenial(octets, variant);
    const ages = found?.kind === "cached";
    const known = found?.kind === "service" ? this.#markOf(found.service) : nowhere;
    const front = this.#question.nameLength - (path.domains[0]?.length ?? 0);
    const record = keptAnswer({
      octets,
      variant,
      mayTurn: !ages,
      ages,
      aliasFront: found === undefined ? 0 : front,
      ...(known && { service: known.hash }),
    });
    if (known === undefined || record === undefined) return;
    const endMs = ages ? found.endMs : Infinity;
    const walked = { octets: record, mark: known.mark, path: this.#numberOf(path), untilMs, endMs };
    this.#publish({ kind: "answer", of: "walked", answer: walked });
  }

  #markOf(service: Name): { readonly hash: number; readonly mark: number } | undefined {
    const labels = labelsWithin(foldName(service), this.#domain) ?? [];
    const hash = this.#hashOf(labels.slice(0, -1));
    const mark = hash === undefined ? none : this.#marks.get(hash);
    return hash === undefined || mark === none ? undefined : { hash, mark };
  }

  #keepDenial(octets: Uint8Array, variant: number): void {
    if (this.#knownDenials.has(variant)) return;
    const denial = denialFrom(octets, variant, this.#domain.length);
    if (denial === undefined) return;
    this.#knownDenials.add(variant);
    this.#publish({ kind: "denial", denial });
  }

  #clear(): void {
    this.#marks.clear();
    this.#others.clear();
    this.#namespaces = new Map();
  }

  #setNamespaces(names: readonly string[], changed: Set<number>): void {
    const now = new Map<string, number>();
    for (const name of names) {
      const hash = this.#namespaces.get(name) ?? this.#hashOf([name]);
      if (hash === undefined) continue;
      now.set(name, hash);
      if (!this.#namespaces.has(name)) this.#add(hash, changed);
    }
    for (const [name, hash] of this.#namespaces) if (!now.has(name)) this.#remove(hash, changed);
    this.#namespaces = now;
  }

  // Undefined for labels that no name can have: nobody asks for them.
  #hashOf(labels: readonly string[]): number | undefined {
    const name = nameOfLabels(labels);
    if (name === undefined) return undefined;
    const octets = Buffer.from(foldName(name), "latin1");
    return hashOctets(this.#seed, octets, 0, octets.length - 1);
  }

  #hashOfService(key: string): number | undefined {
    const { namespace, name } = partsOfKey(key);
    return this.#hashOf([name, namespace]);
  }

  #add(hash: number | undefined, changed: Set<number>): void {
    if (hash === undefined) return;
    this.#hasNewNames = true;
    changed.add(hash);
    if (this.#marks.get(hash) === none) this.#marks.set(hash, this.#nextMark());
    else this.#others.set(hash, (this.#others.get(hash) ?? 0) + 1);
  }

  #remove(hash: number | undefined, changed: Set<number>): void {
    if (hash === undefined) return;
    changed.add(hash);
    const others = this.#others.get(hash) ?? 0;
    if (others === 0) this.#marks.set(hash, none);
    else if (others === 1) this.#others.delete(hash);
    else this.#others.set(hash, others - 1);
  }

  #marked(changed: ReadonlySet<number>): Int32Array {
    const marks = new Int32Array(changed.size * 2);
    let at = 0;
    for (const hash of changed) {
      const mark = this.#marks.get(hash) === none ? none : this.#nextMark();
      this.#marks.set(hash, mark);
      marks[at++] = hash;
      marks[at++] = mark;
    }
    return marks;
  }

  #nextMark(): number {
    this.#lastMark = this.#lastMark === 0x7fff_ffff ? 1 : this.#lastMark + 1;
    return this.#lastMark;
  }
}

/** What does not rest on a service. */
const nowhere = { hash: 0, mark: 0 };

// Nothing was cut off for a client that takes little.
function isWhole({ additionals }: Answer, octets: Uint8Array, variant: number): boolean {
  const opt = variant === Variant.plain ? 0 : 1;
  const count = ((octets[10] ?? 0) << 8) | (octets[11] ?? 0);
  return !isTruncated(octets) && count === additionals.length + opt;
}

// The zone comes to own such a name, and ceases to, with the services that have the address.
const isReverse = (name: Name): boolean => labelsOf(foldName(name)).at(-1) === "arpa";

const isBelow = (name: Name, domain: Name): boolean =>
  (labelsWithin(name, domain)?.length ?? 0) > 0;

const meets = (a: Name, b: Name): boolean =>
  labelsWithin(a, b) !== undefined || labelsWithin(b, a) !== undefined;

function addressOctets(text: string): Uint8Array | undefined {
  const address = parseIp(text);
  return address && ipToBytes(address);
}
