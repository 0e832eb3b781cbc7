import { rcodeCounter, type SharedCounters } from "../observe/counters.ts";
import { Tally } from "../observe/histogram.ts";
import { durationBuckets, type SharedTraffic, sizeBuckets } from "../observe/traffic.ts";
import type { WireCounts } from "../wire/wire-responder.ts";

/** What was counted is told no more often than this, and no later than so long after. */
export const tellMs = 20;

/**
 * What the packet thread counts, told to the shared counters for many queries together: an addition in
 * shared memory costs more than a hash of a name.
 */
export class PacketCounts {
  readonly #counters: SharedCounters;
  readonly #traffic: SharedTraffic;
  readonly #answers: WireCounts;
  readonly #durations = new Tally(durationBuckets);
  readonly #sizes = new Tally(sizeBuckets);
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
    this.#sizes.observe(octets, 1);
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
    if (answered > 0) this.#durations.observe(elapsedMs / 1000, answered);
  }

  /** Nothing was counted that has not been told. */
  get isTold(): boolean {
    return this.#answered + this.#dropped + this.#silenced + this.#failed === 0;
  }

  /** Tells what it has, unless it has told something a moment ago. */
  tell(nowMs: number): void {
    if (this.isTold || nowMs - this.#toldAtMs < tellMs) return;
    this.#toldAtMs = nowMs;
    this.#add("udp", this.#answered + this.#dropped + this.#silenced);
    this.#add("limited", this.#limited);
    this.#add("dropped", this.#dropped);
    this.#add("errors", this.#failed);
    this.#add("cacheHits", this.#answers.cacheHits);
    this.#add("searchWalks", this.#answers.searchWalks);
    this.#answers.cacheHits = this.#answers.searchWalks = 0;
    this.#answered = this.#dropped = this.#failed = this.#limited = this.#silenced = 0;
    for (const [rcode, count] of this.#answers.byRcode.entries()) {
      this.#add(rcodeCounter(rcode), count);
    }
    this.#answers.byRcode.fill(0);
    this.#traffic.add("udp", this.#durations, this.#sizes);
    this.#durations.clear();
    this.#sizes.clear();
  }

  #add(...[name, count]: Parameters<SharedCounters["add"]>): void {
    if (count !== 0) this.#counters.add(name, count);
  }
}
