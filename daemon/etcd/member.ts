// This node as a member of the cluster that lies in etcd: its blocks, its Node object, the names of its
// attachments and the services it has endpoints of.
import { setTimeout } from "node:timers/promises";
import type { Cidr, Ip } from "../../core/address.ts";
import type { Clock, Random } from "../../core/clock.ts";
import { describeError } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import { Backoff } from "../source/backoff.ts";
import { BlockKeeper, type BlockKeeperOptions } from "./block-keeper.ts";
import { openEtcdClaims } from "./claim-store.ts";
import type { EtcdClient } from "./client.ts";
import type { Membership } from "./etcd-source.ts";
import { KeptLease } from "./kept-lease.ts";
import { keysUnder } from "./keys.ts";
import { isAttachmentOf, ownNode, ownNodeKey, type OwnServices } from "./own-objects.ts";
import { Publisher } from "./publisher.ts";
import { SharedServices } from "./shared-services.ts";
import { keepSwept } from "./sweep.ts";

export interface MemberOptions extends Omit<BlockKeeperOptions, "store"> {
  /** Stays the caller's. */
  readonly client: EtcdClient;
  readonly prefix: string;
  readonly leaseSeconds: LeaseSeconds;
  /** At which other nodes reach this one; empty: none is known. */
  readonly addresses: () => readonly Ip[];
  readonly attachments: () => ReadonlyMap<string, object>;
  readonly services: () => OwnServices;
  /** Throws ForeignPrefixError. */
  readonly checkMarker: (signal: AbortSignal) => Promise<void>;
  /** Nothing is claimed or told before it resolves; absent: at once. */
  readonly mayBegin?: Promise<void>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** How often what dead nodes left is looked for, by one node of all; default: an hour. */
  readonly sweepEverySeconds?: number;
}

export interface LeaseSeconds {
  /** After which a silent node is no node any more: the ways to its pods go. */
  readonly node: number;
  /** After which the names of its pods, and its endpoints, are not given any more. */
  readonly names: number;
}

const usualPauseMs = 1000;
const usualSweepSeconds = 3600;
/** It takes a dump of the node's interfaces. */
const addressesEveryMs = 30_000;
const retry = { firstMs: 100, mostMs: 5000 };

interface OwnNames {
  readonly attachments: ReadonlyMap<string, object>;
  readonly services: OwnServices;
}

export class EtcdMember implements Membership, Disposable {
  readonly #options: MemberOptions;
  readonly #blocks: BlockKeeper;
  readonly #publisher: Publisher;
  readonly #services: SharedServices;
  readonly #leases: { readonly node: KeptLease; readonly names: KeptLease };
  readonly #listeners = new Set<() => void>();
  readonly #stop = new AbortController();
  readonly #backoff: Backoff;
  #wake = new AbortController();
  #own: ReadonlyMap<string, object> = new Map();
  #told = "";
  #problems: readonly string[] = [];
  #isMarked = false;
  #addresses: readonly Ip[] = [];
  #lookForAddressesAtMs = -Infinity;
  /** What is published beside the Node; undefined: to be looked at. */
  #names: OwnNames | undefined;
  #serviceProblems: readonly string[] = [];
  #namesLease: bigint | undefined;

  constructor(options: MemberOptions) {
    this.#options = options;
    const { client, prefix, leaseSeconds, clock } = options;
    const keys = keysUnder(prefix);
    this.#blocks = new BlockKeeper({ ...options, store: openEtcdClaims(client, keys.claims) });
    this.#publisher = new Publisher(client, keys);
    this.#services = new SharedServices(client, keys);
    this.#leases = {
      node: new KeptLease({ client, seconds: leaseSeconds.node, clock }),
      names: new KeptLease({ client, seconds: leaseSeconds.names, clock }),
    };
    this.#backoff = new Backoff(retry, options.random);
    void this.#run();
    const { sweepEverySeconds: everySeconds = usualSweepSeconds } = options;
    const isAllowed = (): boolean => this.#isMarked && this.isSettled();
    void keepSwept({ ...options, keys, isAllowed, everySeconds }, this.#stop.signal);
  }

  isOwn(object: string): boolean {
    const { nodeName } = this.#options;
    return object === ownNodeKey(nodeName) || isAttachmentOf(nodeName, object);
  }

  own(): ReadonlyMap<string, object> {
    return this.#own;
  }

  isSettled(): boolean {
    return this.#blocks.isSettled && this.#own.size > 0;
  }

  problems(): readonly string[] {
    return this.#problems;
  }

  subscribe(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** Each list begins with it: the store may have been made anew. */
  async check(signal: AbortSignal): Promise<void> {
    this.#isMarked = false;
    await this.#options.checkMarker(signal);
    this.#isMarked = true;
  }

  retell(): void {
    this.#options.log.info({}, "this node is not in etcd: telling it all again");
    this.#isMarked = false;
    this.#publisher.forget();
    this.#services.doubt();
    this.#blocks.doubt();
    this.wake();
  }

  /** Something that is published is new. */
  wake(): void {
    this.#names = undefined;
    this.#wake.abort();
  }

  /** What is in etcd stays there until its lease ends: a daemon that starts again finds its place. */
  [Symbol.dispose](): void {
    this.#stop.abort();
    this.#listeners.clear();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    await this.#options.mayBegin;
    while (!signal.aborted) {
      this.#wake = new AbortController();
      const pauseMs = await this.#round(signal);
      const either = AbortSignal.any([signal, this.#wake.signal]);
      await setTimeout(pauseMs, undefined, { signal: either }).catch(() => {});
    }
  }

  /** Resolves with how long to wait for the next. */
  async #round(signal: AbortSignal): Promise<number> {
    const problems: string[] = [];
    let pauseMs = usualPauseMs;
    try {
      await this.#keep(signal);
      this.#backoff.succeed();
    } catch (error) {
      if (signal.aborted) return 0;
      problems.push(`Cannot keep this node's place in the cluster: ${describeError(error)}`);
      pauseMs = this.#backoff.next();
    }
    problems.push(...this.#blocks.problems, ...this.#serviceProblems);
    this.#tell(problems);
    return pauseMs;
  }

  async #keep(signal: AbortSignal): Promise<void> {
    if (!this.#isMarked) await this.check(signal);
    await this.#blocks.keep(signal);
    this.#seeAddresses();
    const { held, isSettled } = this.#blocks;
    if (!isSettled || this.#addresses.length === 0) return;
    this.#own = this.#nodeObject(held);
    if (held.length === 0) return;
    const node = await this.#leases.node.keep(signal);
    const names = await this.#leases.names.keep(signal);
    if (names !== this.#namesLease) {
      // An etcd that does not know the lease may have another cluster's data.
      await this.check(signal);
      // Without our endpoints, a service may have been taken for one that nobody has.
      this.#services.doubt();
      // Older data may lack a block as they lack the lease.
      if (this.#namesLease !== undefined) this.#blocks.doubt();
      this.#namesLease = names;
    }
    const { attachments, services } = this.#options;
    // Also where wake() has come meanwhile.
    const own = (this.#names ??= { attachments: attachments(), services: services() });
    this.#serviceProblems = own.services.problems;
    await this.#publisher.publish(
      [
        { objects: this.#own, lease: node },
        { objects: new Map([...own.attachments, ...own.services.objects]), lease: names },
      ],
      signal,
    );
    await this.#services.settle(own.services.services, signal);
  }

  #nodeObject(held: readonly Cidr[]): ReadonlyMap<string, object> {
    const { nodeName } = this.#options;
    return new Map([[ownNodeKey(nodeName), ownNode(nodeName, this.#addresses, held)]]);
  }

  /** Those that were found once stay while none is found: an interface may be down for a while. */
  #seeAddresses(): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs < this.#lookForAddressesAtMs) return;
    const found = this.#options.addresses();
    if (found.length === 0) return;
    this.#addresses = found;
    this.#lookForAddressesAtMs = nowMs + addressesEveryMs;
  }

  #tell(problems: readonly string[]): void {
    const hasNone = this.#blocks.isSettled && this.#addresses.length === 0;
    this.#problems = hasNone
      ? [
          ...problems,
          "Cannot tell at which address other nodes reach this one: expected network.interface to name an interface that is up and has one",
        ]
      : problems;
    const told = JSON.stringify([this.#problems, ...this.#own, this.isSettled()]);
    if (told === this.#told) return;
    this.#told = told;
    for (const listener of this.#listeners) listener();
  }
}
