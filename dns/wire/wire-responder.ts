import type { Random } from "../../core/clock.ts";
import { SearchingClients } from "../clients/searching-clients.ts";
import { headerOctets, Rcode, RecordType } from "../message/message.ts";
import type { Name } from "../message/name.ts";
import { hashOctets } from "../message/wire-hash.ts";
import { ServiceMarks } from "./service-marks.ts";
import { kept } from "./wire-answer.ts";
import { WireQuestion } from "./wire-question.ts";
import { type StoreSize, WireStore } from "./wire-store.ts";
import type { AnswerOrigin, Denial, WireUpdate } from "./wire-update.ts";

export interface WireResponderOptions {
  /** The cluster's domain, folded. */
  readonly domain: Name;
  readonly seed: number;
  readonly random: Random;
  readonly size?: WireSize;
}

/** Each bounds what is kept of one origin. */
export type WireSize = Readonly<Record<AnswerOrigin, StoreSize>>;

export const defaultWireSize: WireSize = {
  cluster: { octets: 8 << 20, answers: 1 << 16 },
  outside: { octets: 4 << 20, answers: 1 << 14 },
  walked: { octets: 2 << 20, answers: 1 << 13 },
};

const svc = Uint8Array.from(Buffer.from("\x03svc", "latin1"));
// Below these the zone has more than services, or names that occur in a denial's own SOA record, which
// the encoder would then write shorter. Below others, networks may have names.
const ownTrees = ["pod", "dns", "dns-version", "hostmaster"].map((label) =>
  Uint8Array.from(Buffer.from(String.fromCharCode(label.length) + label, "latin1")),
);

/** QR, TC, RD as the query has it, and RA; nothing stands behind the question. */
const truncated = Uint8Array.of(0x83, 0x80, 0, 0, 0, 0, 0, 0);

/** Where in memory a query lies, and the struct sockaddr of who sent it. */
export interface QueryPlace {
  readonly at: number;
  readonly length: number;
  readonly sourceAt: number;
  readonly sourceLength: number;
}

/** Where an answer goes, and when. */
interface Giving {
  readonly memory: Uint8Array;
  readonly at: number;
  readonly nowMs: number;
}

/** Answers given since they were last asked for, by rcode; of these from the cache, and with a walk's end. */
export interface WireCounts {
  readonly byRcode: Float64Array;
  cacheHits: number;
  searchWalks: number;
}

/**
 * Gives again what the responder gave before, to who asks the same, and says that a name is missing when
 * no service has it: in place, over the octets of the query, without a single object. All it knows it
 * was told by the responder's side, in {@link WireUpdate}s; what it does not know is left to that.
 */
export class WireResponder {
  readonly counts: WireCounts = { byRcode: new Float64Array(16), cacheHits: 0, searchWalks: 0 };
  readonly #question: WireQuestion;
  readonly #domain: Uint8Array;
  readonly #domainLabels: number;
  readonly #seed: number;
  readonly #random: Random;
  readonly #marks = new ServiceMarks();
  readonly #stores: Readonly<Record<AnswerOrigin, WireStore>>;
  readonly #trees = new Set<number>();
  readonly #searching = new SearchingClients();
  readonly #denials: (Denial | undefined)[] = [undefined, undefined, undefined];
  #isInSync = false;
  #mayDeny = false;
  #serial = 0;
  /** Where the next octets of an answer go. */
  #memory: Uint8Array = new Uint8Array();
  #at = 0;

  constructor({ domain, seed, random, size = defaultWireSize }: WireResponderOptions) {
    this.#domain = Uint8Array.from(Buffer.from(domain, "latin1"));
    this.#domainLabels = labelCount(this.#domain);
    this.#seed = seed;
    this.#random = random;
    this.#question = new WireQuestion(seed);
    this.#stores = {
      cluster: new WireStore(seed, size.cluster),
      outside: new WireStore(seed, size.outside),
      walked: new WireStore(seed, size.walked),
    };
  }

  apply(update: WireUpdate): void {
    switch (update.kind) {
      case "zone":
        if (update.isComplete) this.#marks.clear();
        for (let i = 0; i + 1 < update.marks.length; i += 2) {
          this.#marks.set(update.marks[i] ?? 0, update.marks[i + 1] ?? 0);
        }
        this.#serial = update.serial;
        this.#isInSync = update.isInSync;
        this.#mayDeny = update.mayDeny;
        if (update.hasNewNames) this.#stores.walked.clear();
        return;
      case "pods":
        this.#trees.clear();
        for (const hash of update.trees) this.#trees.add(hash);
        for (const address of update.gone) this.#searching.remove(address);
        for (const client of update.searching) this.#searching.set(client);
        if (update.hasNewNames) this.#stores.walked.clear();
        return;
      case "answer":
        this.#stores[update.of].put(update.answer);
        return;
      case "denial":
        this.#denials[update.denial.variant] = update.denial;
        return;
      case "forget-outside":
        this.#stores.outside.clear();
        this.#stores.walked.clear();
    }
  }

  /**
   * Answers the query where it lies: the octets of the answer, or 0 when it is not for here. `nowMs` is
   * of the clock that the updates have. The memory must have room for 1232 octets from `at`.
   */
  respond(memory: Uint8Array, query: QueryPlace, nowMs: number): number {
    const question = this.#question;
    const { at } = query;
    if (!question.read(memory, at, query.length)) return 0;
    const inFront = this.#labelsInFront();
    if (inFront < 0) return this.#answerOutside(memory, at, nowMs);
    if (inFront === 0 || !this.#isInSync) return 0;
    return this.#answerCluster(memory, query, inFront, nowMs);
  }

  /** Says where the query lies that its answer is to be had over TCP. Otherwise as {@link respond}. */
  truncate(memory: Uint8Array, { at, length }: QueryPlace): number {
    if (!this.#question.read(memory, at, length)) return 0;
    this.#startAnswer(memory, at, truncated, 0);
    return this.#question.end;
  }

  // How many labels stand in front of the domain; negative: it is not in the domain.
  #labelsInFront(): number {
    const { name, nameLength, labels, labelAt } = this.#question;
    const domain = this.#domain;
    const inFront = labels - this.#domainLabels;
    if (inFront < 0) return -1;
    const start = nameLength - domain.length;
    // The root is no domain of a cluster: there is a label at its start.
    if (labelAt[inFront] !== start) return -1;
    for (let i = 0; i < domain.length; i++) if (name[start + i] !== domain[i]) return -1;
    return inFront;
  }

  #answerOutside(memory: Uint8Array, at: number, nowMs: number): number {
    const store = this.#stores.outside;
    const place = store.find(this.#question);
    return place < 0 ? 0 : this.#giveAged(store, place, { memory, at, nowMs });
  }

  // Until its time is over, with the TTLs that are left.
  #giveAged(store: WireStore, place: number, { memory, at, nowMs }: Giving): number {
    const untilMs = store.untilMs(place);
    if (nowMs >= untilMs) return 0;
    const octets = this.#give(store, place, memory, at);
    if (octets === 0) return 0;
    if (untilMs !== Infinity) this.counts.cacheHits++;
    const from = store.at(place);
    // Rounded up while it lives, as the cache itself has it.
    const ttl = Math.ceil((store.endMs(place) - nowMs) / 1000);
    for (let i = 0; i < (store.octets[from + kept.ttls] ?? 0); i++) {
      const ttlAt = from + kept.octets + 2 * i;
      writeU32(memory, at + this.#question.end + readU16(store.octets, ttlAt), ttl);
    }
    return octets;
  }

  #answerCluster(memory: Uint8Array, query: QueryPlace, inFront: number, nowMs: number): number {
    const { name, nameLength, labelAt } = this.#question;
    const { at } = query;
    const tree = labelAt[inFront - 1] ?? 0;
    if (!startsWith(name, tree, svc)) {
      const domain = nameLength - this.#domain.length;
      const isOthers = this.#trees.has(hashOctets(this.#seed, name, tree, domain));
      return isOthers || this.#isOwnTree(tree) ? 0 : this.#answerMissing(memory, query, nowMs);
    }
    // [..., service, namespace, svc]
    if (inFront === 1) return 0;
    const first = labelAt[Math.max(0, inFront - 3)] ?? 0;
    const mark = this.#marks.get(hashOctets(this.#seed, name, first, tree));
    if (mark === 0) return this.#answerMissing(memory, query, nowMs);
    const store = this.#stores.cluster;
    const place = store.find(this.#question);
    if (place < 0 || store.mark(place) !== mark) return 0;
    if (store.rcode(place) === Rcode.NXDOMAIN && this.#pathOf(memory, query) > 0) return 0;
    return this.#give(store, place, memory, at);
  }

  #answerMissing(memory: Uint8Array, query: QueryPlace, nowMs: number): number {
    const path = this.#pathOf(memory, query);
    if (path === 0) return this.#deny(memory, query.at);
    return this.#answerWalked(path, { memory, at: query.at, nowMs });
  }

  // Missing here, but its asker has this search list, and means what is found below another domain.
  #pathOf(memory: Uint8Array, { sourceAt, sourceLength }: QueryPlace): number {
    const { name, nameLength, type } = this.#question;
    if (type !== RecordType.A && type !== RecordType.AAAA) return 0;
    const client = this.#searching.find(memory, sourceAt, sourceLength);
    if (client === undefined) return 0;
    const start = nameLength - client.domain.length;
    return start > 0 && startsWith(name, start, client.domain) ? client.path : 0;
  }

  #answerWalked(path: number, giving: Giving): number {
    const store = this.#stores.walked;
    const place = store.find(this.#question, path);
    if (place < 0) return 0;
    const service = readI32(store.octets, store.at(place) + kept.service);
    const mark = store.mark(place);
    if (mark > 0 && this.#marks.get(service) !== mark) return 0;
    const octets = this.#giveAged(store, place, giving);
    if (octets > 0 && store.rcode(place) === Rcode.NOERROR) this.counts.searchWalks++;
    return octets;
  }

  #isOwnTree(tree: number): boolean {
    for (const label of ownTrees) if (startsWith(this.#question.name, tree, label)) return true;
    return false;
  }

  #give(store: WireStore, place: number, memory: Uint8Array, at: number): number {
    const { end, limit, nameLength } = this.#question;
    const { octets } = store;
    const from = store.at(place);
    const tailLength = readU16(octets, from + kept.tailLength);
    if (end + tailLength > limit) return 0;
    this.#startAnswer(memory, at, octets, from + kept.flags);
    const tail = store.nameAt(from) + nameLength;
    this.#at = at + end;
    const turns = octets[from + kept.turns] ?? 0;
    const turned = turns * (octets[from + kept.recordOctets] ?? 0);
    const start = turns > 1 ? this.#random.below(turns) * (turned / turns) : 0;
    const turnsAt = readU16(octets, from + kept.turnsAt);
    const set = tail + turnsAt;
    // What stands in front of the set, the set from where it starts, from its beginning, and what is behind.
    this.#append(octets, tail, turnsAt);
    this.#append(octets, set + start, turned - start);
    this.#append(octets, set, start);
    this.#append(octets, set + turned, tailLength - turnsAt - turned);
    this.#at = at + end + readU16(octets, from + kept.spelledAt);
    this.#append(memory, at + headerOctets, octets[from + kept.spelled] ?? 0);
    const serialAt = readU16(octets, from + kept.serialAt);
    if (serialAt > 0) writeU32(memory, at + end + serialAt, this.#serial);
    return end + tailLength;
  }

  // The zone's own answer to a name that is missing: all have the same, but where the domain stands.
  #deny(memory: Uint8Array, at: number): number {
    const { end, limit, variant, nameLength } = this.#question;
    const denial = this.#mayDeny ? this.#denials[variant] : undefined;
    if (denial === undefined || end + denial.tail.length > limit) return 0;
    this.#startAnswer(memory, at, denial.header, 0);
    const to = at + end;
    this.#at = to;
    this.#append(denial.tail, 0, denial.tail.length);
    const domain = 0xc000 | (headerOctets + nameLength - this.#domain.length);
    for (let i = 0; i < denial.pointers.length; i++) {
      const pointer = to + (denial.pointers[i] ?? 0);
      memory[pointer] = domain >> 8;
      memory[pointer + 1] = domain & 0xff;
    }
    writeU32(memory, to + denial.serialAt, this.#serial);
    return end + denial.tail.length;
  }

  // Flags, and counts of what stands behind the question: the id and the one question are there.
  #startAnswer(memory: Uint8Array, at: number, from: Uint8Array, start: number): void {
    this.#memory = memory;
    this.#at = at + 2;
    this.#append(from, start, 2);
    this.#at = at + 6;
    this.#append(from, start + 2, 6);
    const rcode = (from[start + 1] ?? 0) & 0x0f;
    this.counts.byRcode[rcode] = (this.counts.byRcode[rcode] ?? 0) + 1;
  }

  // They are few: a call of set() and a view for each would cost more.
  #append(from: Uint8Array, start: number, octets: number): void {
    const memory = this.#memory;
    const at = this.#at;
    for (let i = 0; i < octets; i++) memory[at + i] = from[start + i] ?? 0;
    this.#at = at + octets;
  }
}

function startsWith(octets: Uint8Array, at: number, wanted: Uint8Array): boolean {
  for (let i = 0; i < wanted.length; i++) if (octets[at + i] !== wanted[i]) return false;
  return true;
}

const readU16 = (octets: Uint8Array, at: number): number =>
  ((octets[at] ?? 0) << 8) | (octets[at + 1] ?? 0);

const readI32 = (octets: Uint8Array, at: number): number =>
  (readU16(octets, at) << 16) | readU16(octets, at + 2);

function writeU32(octets: Uint8Array, at: number, value: number): void {
  octets[at] = value >>> 24;
  octets[at + 1] = value >>> 16;
  octets[at + 2] = value >>> 8;
  octets[at + 3] = value;
}

function labelCount(name: Uint8Array): number {
  let count = 0;
  for (let at = 0; (name[at] ?? 0) !== 0; at += 1 + (name[at] ?? 0)) count++;
  return count;
}
