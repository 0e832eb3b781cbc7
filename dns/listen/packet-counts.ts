import { maxUdpOctets } from "../message/message.ts";
import { rcodeCounter, type SharedCounters } from "../observe/counters.ts";
import type { SharedTraffic } from "../observe/traffic.ts";
import type { WireCounts } from "../wire/wire-responder.ts";

/** Few at once are told at once; of many, what was counted is told this often. */
const few = 4;
const tellMs = 20;

/**
 * What the packet thread counts, told to the shared counters for many queries together: an addition in
 * shared memory costs more than a hash of a name.
 */
export class PacketCounts {
  readonly #counters: SharedCounters;
  readonly #traffic: SharedTraffic;
  readonly #answers: WireCounts;
  readonly #sizes = new Float64Array(maxUdpOctets + 1);
  /** Of the sizes, those that are not 0. */
  readonly #sizesSeen: number[] = [];
  #answered = 0;
  #dropped = 0;
  #limited = 0;
  #silenced = 0;
  #failed = 0;
  #toldAtMs = 0;

  constructor(counters: SharedCounters, traffic: SharedTraffic, answers: WireCounts) {
    this.#counters = counters;
    this.#traffic = traffic;
    this.#answers = answers;
  }

  answer(octets: number): void {
    this.#answered++;
    const count = this.#sizes[octets] ?? 0;
    if (count === 0) this.#sizesSeen.push(octets);
    this.#sizes[octets] = count + 1;
  }

  drop(): void {
    this.#dropped++;
  }

  /** A datagram above its client's rate got this answer, or none: 0 octets. */
  limit(octets: number): void {
    this.#limited++;
    if (octets > 0) this.answer(octets);
    else this.#silenced++;
  }

  /** A batch was sent, of which `failed` answers could not be, so long after it came. */
  batch(elapsedMs: number, answered: number, failed: number): void {
    this.#failed += failed;
    if (answered > 0) this.#traffic.countDuration("udp", elapsedMs, answered);
  }

  /** Tells what it has, when that is little or old. */
  tell(nowMs: number): void {
    const all = this.#answered + this.#dropped + this.#silenced + this.#failed;
    if (all === 0 || (all > few && nowMs - this.#toldAtMs < tellMs)) return;
    this.#toldAtMs = nowMs;
    this.#add("udp", this.#answered + this.#dropped + this.#silenced);
    this.#add("limited", this.#limited);
    this.#add("dropped", this.#dropped);
    this.#add("errors", this.#failed);
    this.#add("cacheHits", this.#answers.cacheHits);
    this.#answers.cacheHits = 0;
    this.#answered = this.#dropped = this.#failed = this.#limited = this.#silenced = 0;
    for (const [rcode, count] of this.#answers.byRcode.entries()) {
      this.#add(rcodeCounter(rcode), count);
    }
    this.#answers.byRcode.fill(0);
    for (const octets of this.#sizesSeen) {
      this.#traffic.countSize("udp", octets, this.#sizes[octets] ?? 0);
      this.#sizes[octets] = 0;
    }
    this.#sizesSeen.length = 0;
  }

  #add(...[name, count]: Parameters<SharedCounters["add"]>): void {
    if (count !== 0) this.#counters.add(name, count);
  }
}
