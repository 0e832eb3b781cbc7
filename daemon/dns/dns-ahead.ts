// Keeps queries coming to the node's own resolver where another has rules for its addresses, as kube-proxy
// has: only for as long as it answers. A daemon that dies, hangs, or whose resolver does, keeps nothing.
import { isDeepStrictEqual } from "node:util";
import type { Ip } from "../../core/address.ts";
import type { Clock } from "../../core/clock.ts";
import { dnsAheadElements, dnsAheadMs, dnsAheadPart } from "../../core/desired/dns-ahead.ts";
import { describeError } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import { nftTableName } from "../../core/names.ts";
import type { DnsServer } from "../../dns/server.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import type { AheadState } from "../status/ahead-status.ts";

export interface DnsAheadOptions {
  /** All that the resolver is configured with; those that it has bound are kept. */
  readonly addresses: readonly Ip[];
  /** The cluster's. */
  readonly domain: string;
  readonly server: Pick<DnsServer, "explain" | "listening">;
  readonly kernel: Pick<Kernel, "putNftElements" | "removeNftElements">;
  readonly clock: Clock;
  readonly log: Log;
}

/** The wall clock tells people when, and may jump; the other one how long ago. */
interface Moment {
  readonly wallMs: number;
  readonly monotonicMs: number;
}

const momentOf = (clock: Clock): Moment => ({
  wallMs: clock.nowMs(),
  monotonicMs: clock.monotonicMs(),
});

/** Two that are late do no harm. */
const everyMs = dnsAheadMs / 3;
const typeA = 1;

export class DnsAhead implements Disposable {
  readonly #options: DnsAheadOptions;
  readonly #timer: NodeJS.Timeout;
  /** The addresses for which queries come here, as far as is known. */
  #kept: readonly Ip[] = [];
  /** When the kernel was told last, and when {@link #kept} became what it is. */
  #keptAt: Moment;
  #since: Moment;
  #problem = "";
  #isAsking = false;
  #isOpen = true;
  #hasSuccessor = false;

  constructor(options: DnsAheadOptions) {
    this.#options = options;
    this.#keptAt = this.#since = momentOf(options.clock);
    this.#timer = setInterval(() => void this.keep(), everyMs);
    void this.keep();
  }

  /** Another daemon answers at the same sockets: disposed, queries go on to come. */
  noteSuccessor(): void {
    this.#hasSuccessor = true;
  }

  /** What was told ends by itself, as it does here, when the resolver is silent or the kernel refuses. */
  state(): AheadState {
    const { addresses, since } = this.#settled();
    const forMs = this.#options.clock.monotonicMs() - since.monotonicMs;
    const isEnded = addresses.length < this.#kept.length && this.#problem === "";
    const problem = isEnded ? "The resolver's threads do not answer" : this.#problem;
    return { addresses, sinceMs: since.wallMs, forMs, problem };
  }

  #settled(): { readonly addresses: readonly Ip[]; readonly since: Moment } {
    const { wallMs, monotonicMs } = this.#keptAt;
    const isOver = this.#options.clock.monotonicMs() - monotonicMs >= dnsAheadMs;
    if (!isOver || this.#kept.length === 0) return { addresses: this.#kept, since: this.#since };
    const since = { wallMs: wallMs + dnsAheadMs, monotonicMs: monotonicMs + dnsAheadMs };
    return { addresses: [], since };
  }

  /** Asks the resolver, and says where queries shall go. One question is on its way at a time. */
  async keep(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      const problem = await this.#ask();
      if (this.#isOpen)
        this.#settle(problem === "" ? this.#options.server.listening() : [], problem);
    } catch (thrown) {
      if (this.#isOpen) this.#note(describeError(thrown));
    } finally {
      this.#isAsking = false;
    }
  }

  /**
   * "" when the resolver's thread answers and knows the cluster: of a service that is not there it says so
   * then, and SERVFAIL before.
   */
  async #ask(): Promise<string> {
    const { addresses, domain, server } = this.#options;
    const [address = ""] = addresses;
    const name = `answered-here.default.svc.${domain}`;
    try {
      const { rcode } = await server.explain({ name, type: typeA, address });
      return rcode === "SERVFAIL" ? "It does not know the cluster yet" : "";
    } catch (thrown) {
      return describeError(thrown);
    }
  }

  #settle(answered: readonly Ip[], problem: string): void {
    const { kernel, clock, log } = this.#options;
    const before = this.#settled();
    const lost = this.#kept.filter((address) => !answered.includes(address));
    if (lost.length > 0) kernel.removeNftElements(nftTableName, dnsAheadElements(lost));
    if (answered.length > 0) {
      kernel.putNftElements(dnsAheadPart(answered));
      this.#keptAt = momentOf(clock);
    }
    this.#since = before.since;
    if (!isDeepStrictEqual(answered, before.addresses)) {
      log.info({ addresses: answered }, "queries to these addresses come to the resolver");
      this.#since = momentOf(clock);
    }
    this.#kept = answered;
    this.#note(problem);
  }

  #note(problem: string): void {
    if (problem !== this.#problem && problem !== "") {
      this.#options.log.warn({ problem }, "the resolver does not keep queries from others");
    }
    this.#problem = problem;
  }

  [Symbol.dispose](): void {
    this.#isOpen = false;
    clearInterval(this.#timer);
    if (this.#hasSuccessor || this.#kept.length === 0) return;
    const { kernel, log } = this.#options;
    try {
      kernel.removeNftElements(nftTableName, dnsAheadElements(this.#kept));
    } catch (thrown) {
      // They end by themselves.
      log.warn({ problem: describeError(thrown) }, "cannot lead queries to others at once");
    }
  }
}
