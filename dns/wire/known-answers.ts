import { familyOf, ipToBytes, parseIp } from "../../core/address.ts";
import type { Clock, Random } from "../../core/clock.ts";
import { maxUdpOctets, rcodeOf } from "../message/message.ts";
import type { Name } from "../message/name.ts";
import type { SharedCounters } from "../observe/counters.ts";
import { WireResponder } from "./wire-responder.ts";
import type { WireUpdate } from "./wire-update.ts";

export interface KnownAnswersOptions {
  /** The cluster's domain, folded. */
  readonly domain: Name;
  readonly seed: number;
  readonly random: Random;
  readonly clock: Clock;
  readonly counters: SharedCounters;
}

/** Longer queries are the responder's. */
const longestQuery = 512;
/** A node's pods; of more, each is looked at again. */
const maxClients = 4096;

/**
 * What the packet thread does, for datagrams that come one at a time and as Node gives them: answers that the
 * responder gave before are given again.
 */
export class KnownAnswers {
  readonly #responder: WireResponder;
  readonly #clock: Clock;
  readonly #counters: SharedCounters;
  readonly #memory = Buffer.alloc(longestQuery + maxUdpOctets);
  readonly #query = { at: 0, length: 0, sourceAt: 0, sourceLength: 0 };
  /** As struct sockaddr, at the end of {@link #memory}: of clients that asked. */
  readonly #sources = new Map<string, Uint8Array>();

  constructor({ domain, seed, random, clock, counters }: KnownAnswersOptions) {
    this.#responder = new WireResponder({ domain, seed, random });
    this.#clock = clock;
    this.#counters = counters;
  }

  apply(update: WireUpdate): void {
    this.#responder.apply(update);
  }

  /** The answer's octets; undefined: it is not known here. */
  find(packet: Uint8Array, address: string): Uint8Array | undefined {
    if (packet.length > longestQuery) return undefined;
    const source = this.#sourceOf(address);
    const memory = this.#memory;
    const query = this.#query;
    memory.set(packet);
    query.length = packet.length;
    query.sourceAt = memory.length - source.length;
    query.sourceLength = source.length;
    memory.set(source, query.sourceAt);
    const octets = this.#responder.respond(memory, query, this.#clock.monotonicMs());
    if (octets === 0) return undefined;
    // From Node's pool, all of it written: memory of its own would cost a third of the whole answer.
    const answer = Buffer.allocUnsafe(octets);
    memory.copy(answer, 0, 0, octets);
    this.#count(answer);
    return answer;
  }

  #count(answer: Uint8Array): void {
    this.#counters.addResponse(rcodeOf(answer));
    const { counts } = this.#responder;
    if (counts.cacheHits > 0) this.#counters.add("cacheHits");
    if (counts.searchWalks > 0) this.#counters.add("searchWalks");
    counts.cacheHits = counts.searchWalks = 0;
  }

  #sourceOf(address: string): Uint8Array {
    const known = this.#sources.get(address);
    if (known !== undefined) return known;
    if (this.#sources.size >= maxClients) this.#sources.clear();
    const source = sockaddrOf(address);
    this.#sources.set(address, source);
    return source;
  }
}

/** The address where struct sockaddr_in and sockaddr_in6 have it, and nothing else. */
function sockaddrOf(text: string): Uint8Array {
  const ip = parseIp(text);
  if (ip === undefined) return new Uint8Array(16);
  const source = new Uint8Array(familyOf(ip) === 4 ? 16 : 28);
  source.set(ipToBytes(ip), familyOf(ip) === 4 ? 4 : 8);
  return source;
}
