// The cluster from etcd: Kubernetes' objects under a prefix, listed once and then watched.
import { setTimeout as setTimer } from "node:timers";
import { setImmediate as turn, setTimeout } from "node:timers/promises";
import type { Clock, Random } from "../../core/clock.ts";
import type { Snapshot } from "../../core/cluster/model.ts";
import { describeError } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import { Backoff, type BackoffTiming } from "../source/backoff.ts";
import { readClusterCopy } from "../source/cluster-copy.ts";
import { objectNameOf } from "../source/cluster-object.ts";
import { type CopyTiming, KeptCopy } from "../source/kept-copy.ts";
import { ObjectSet } from "../source/object-set.ts";
import type { Source, SourceState } from "../source/source.ts";
import { StateFeed } from "../source/state-feed.ts";
import { type EtcdClient, EtcdError } from "./client.ts";
import { type EtcdKeys, keysUnder, objectAt } from "./keys.ts";
import type { Event, Header, KeyValue } from "./messages.ts";
import { parseJson } from "./read-once.ts";

export interface EtcdSourceOptions {
  /** Stays the caller's. */
  readonly client: EtcdClient;
  /** Without a slash at its end. */
  readonly prefix: string;
  /** Where the cluster's copy is kept; absent: nowhere. */
  readonly copyPath?: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly member?: Membership;
  readonly retry?: BackoffTiming;
  readonly copy?: EtcdCopyTiming;
}

export interface EtcdCopyTiming extends CopyTiming {
  /** The copy is read when etcd has not answered for so long after the start. */
  readonly readAfterMs: number;
}

/** What this node is in the cluster, where it is one of its nodes. */
export interface Membership {
  /** Objects that this node tells of itself, `Node node-a`: what the store has of them is passed over. */
  readonly isOwn: (object: string) => boolean;
  /** Those that it knows better than the store. */
  readonly own: () => ReadonlyMap<string, object>;
  /** Before it has found its place, the snapshot is not complete. */
  readonly isSettled: () => boolean;
  readonly problems: () => readonly string[];
  /** Calls back after any of these has changed. */
  readonly subscribe: (listener: () => void) => Disposable;
  /** The store has lost what this node had told it of itself. */
  readonly retell: () => void;
  /** Before each list: throws where the prefix is another cluster's. */
  readonly check: (signal: AbortSignal) => Promise<void>;
}

/** The event loop gets its turn after this much parsing. */
const sliceMs = 5;
const usualRetry: BackoffTiming = { firstMs: 100, mostMs: 5000 };
const usualCopy: EtcdCopyTiming = {
  firstMs: 2000,
  afterMs: 1_000,
  pauseFactor: 100,
  readAfterMs: 2000,
};

/** Starts reading; the first complete list is the first change that subscribers see. */
export const openEtcdSource = (options: EtcdSourceOptions): Source => new EtcdSource(options);

class EtcdSource implements Source {
  readonly kind = "etcd";
  readonly location: string;
  readonly #options: EtcdSourceOptions;
  readonly #keys: EtcdKeys;
  readonly #objects = new ObjectSet();
  readonly #feed: StateFeed;
  readonly #stop = new AbortController();
  readonly #backoff: Backoff;
  readonly #resources = new DisposableStack();
  /** Own objects that are in the set. */
  #own: ReadonlyMap<string, object> = new Map();
  /** The revision up to which all is known; undefined: a complete list is due. */
  #revision: bigint | undefined;
  /** etcd's own, of the list; another after its data were restored. */
  #clusterId = 0n;
  #isListed = false;
  /** Why the newest is not known. */
  #failure: string | undefined;
  #copy: KeptCopy | undefined;
  #copyProblem: string | undefined;
  /** When what was read from the disk was true; undefined: nothing was, or etcd has answered since. */
  #rememberedAt: string | undefined;

  constructor(options: EtcdSourceOptions) {
    this.#options = options;
    this.#keys = keysUnder(options.prefix);
    this.location = `${options.client.location} ${options.prefix}`;
    this.#feed = this.#resources.use(new StateFeed(() => this.#look(), options.log));
    this.#backoff = new Backoff(options.retry ?? usualRetry, options.random);
    const { member } = options;
    if (member !== undefined) this.#resources.use(member.subscribe(() => this.#takeOwn()));
    if (options.copyPath !== undefined) this.#keepCopy(options.copyPath);
    void this.#run();
  }

  state(): SourceState {
    return this.#feed.state;
  }

  subscribe(listener: (state: SourceState) => void): Disposable {
    return this.#feed.subscribe(listener);
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
    this.#resources.dispose();
  }

  #keepCopy(path: string): void {
    const { prefix, clock, log, copy: timing = usualCopy } = this.#options;
    const copyOf = `etcd ${prefix}`;
    this.#copy = this.#resources.use(new KeptCopy({ path, copyOf, clock, log, timing }));
    const timer = setTimer(() => this.#remember(path, copyOf), timing.readAfterMs);
    this.#resources.defer(() => clearTimeout(timer));
  }

  /** What this node knew before it started, of others: its own place it must prove. */
  #remember(path: string, copyOf: string): void {
    if (this.#isListed) return;
    try {
      const copy = readClusterCopy(path, copyOf);
      if (copy === undefined) return;
      for (const value of copy.objects) {
        const object = objectNameOf(value);
        if (object === undefined || this.#options.member?.isOwn(object) === true) continue;
        this.#objects.put(object, value);
      }
      this.#rememberedAt = copy.at;
    } catch (error) {
      this.#copyProblem = describeError(error);
    }
    this.#feed.expect();
  }

  async #run(): Promise<void> {
    const { client, log } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        const revision = this.#revision ?? (await this.#list());
        await this.#follow(revision);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof EtcdError && error.isCompacted) {
          this.#revision = undefined;
          log.info(
            { location: this.location },
            "etcd has forgotten what came since: reading all anew",
          );
        } else this.#fail(describeError(error));
      }
      // Another endpoint may know more than one that breaks off what it has begun.
      client.moveOn();
      await setTimeout(this.#backoff.next(), undefined, { signal }).catch(() => {});
    }
  }

  async #list(): Promise<bigint> {
    const { client, member } = this.#options;
    const { signal } = this.#stop;
    await member?.check(signal);
    const present = new Set<string>();
    // Put when all of them are there: half a list would be a cluster that never was.
    const found: KeyValue[] = [];
    let revision = 0n;
    for await (const page of client.pages(this.#keys.objects, signal)) {
      if (revision === 0n) {
        ({ revision } = page.header);
        this.#knowCluster(page.header);
      }
      for (const entry of page.entries) found.push(entry);
    }
    let sliceStart = performance.now();
    for (const entry of found) {
      const object = this.#objectAt(entry.key);
      if (object === undefined) continue;
      present.add(object);
      this.#put(object, entry.value);
      if (performance.now() - sliceStart < sliceMs) continue;
      await turn(undefined, { signal });
      sliceStart = performance.now();
    }
    // As it is now: it may have come while the list did.
    for (const own of this.#own.keys()) present.add(own);
    this.#objects.retain(present);
    const keys = new Set(found.map(({ key }) => objectAt(key, this.#keys)));
    for (const own of this.#own.keys()) if (!keys.has(own)) this.#missOwn(own);
    this.#isListed = true;
    this.#rememberedAt = undefined;
    this.#copyProblem = undefined;
    this.#revision = revision;
    this.#succeed();
    return revision;
  }

  async #follow(revision: bigint): Promise<void> {
    const { client } = this.#options;
    const answers = client.watch(this.#keys.objects, revision + 1n, this.#stop.signal);
    for await (const answer of answers) {
      if (answer.compactRevision > 0n) {
        this.#revision = undefined;
        return;
      }
      if (answer.isCanceled) throw new Error(`etcd ended the watch: ${answer.cancelReason}`);
      if (answer.isCreated && this.#isOther(answer.header, revision)) {
        this.#revision = undefined;
        this.#options.log.info(
          { location: this.location },
          "etcd has other data: reading all anew",
        );
        // Our Node may be there, told again meanwhile, and our claims not.
        this.#options.member?.retell();
        return;
      }
      for (const event of answer.events) this.#apply(event);
      // Of a revision in pieces the rest would be lost with the connection.
      if (!answer.isFragment && !answer.isCreated) this.#revision = answer.header.revision;
      this.#succeed();
    }
    throw new Error("etcd ended the watch");
  }

  /** A watch that begins at a revision that restored data have yet to reach would tell nothing until then. */
  #isOther({ clusterId, revision }: Header, known: bigint): boolean {
    return clusterId !== this.#clusterId || revision < known;
  }

  #knowCluster({ clusterId }: Header): void {
    if (this.#clusterId !== 0n && this.#clusterId !== clusterId) this.#options.member?.retell();
    this.#clusterId = clusterId;
  }

  #apply(event: Event): void {
    const key = event.kind === "put" ? event.entry.key : event.key;
    const object = this.#objectAt(key);
    if (object === undefined) {
      if (event.kind === "delete") this.#missOwn(objectAt(key, this.#keys));
      return;
    }
    if (event.kind === "put") this.#put(object, event.entry.value);
    else this.#objects.remove(object);
  }

  /** Undefined for what is not the store's to say. */
  #objectAt(key: string): string | undefined {
    const object = objectAt(key, this.#keys);
    return object === undefined || this.#options.member?.isOwn(object) === true
      ? undefined
      : object;
  }

  #missOwn(object: string | undefined): void {
    if (object !== undefined && this.#own.has(object)) this.#options.member?.retell();
  }

  #put(object: string, text: string): void {
    this.#objects.put(object, parseJson(text));
  }

  #takeOwn(): void {
    const own = this.#options.member?.own() ?? new Map<string, object>();
    for (const object of this.#own.keys()) if (!own.has(object)) this.#objects.remove(object);
    for (const [object, value] of own) this.#objects.put(object, value);
    this.#own = own;
    this.#feed.expect();
  }

  #succeed(): void {
    this.#backoff.succeed();
    this.#failure = undefined;
    this.#feed.expect();
  }

  #fail(reason: string): void {
    const { prefix } = this.#options;
    this.#failure = `Cannot read the cluster from ${this.location}: ${reason}`;
    this.#options.log.debug({ prefix, problem: reason }, "etcd");
    this.#feed.expect();
  }

  #look() {
    const { member } = this.#options;
    const { problems } = this.#objects;
    return {
      isInSync: this.#isListed && problems.length === 0 && member?.isSettled() !== false,
      problems: [
        ...(this.#failure === undefined ? [] : [`${this.#failure} (${this.#consequence()})`]),
        ...(this.#copyProblem === undefined ? [] : [this.#copyProblem]),
        ...(member?.problems() ?? []),
        ...problems,
      ],
      // Before the first list there is nothing to be told but problems.
      hasChanged: this.#objects.takeChange(),
      snapshot: (revision: number, isInSync: boolean) => this.#snapshot(revision, isInSync),
    };
  }

  #consequence(): string {
    if (this.#isListed) return "what was read last stays in force";
    return this.#rememberedAt === undefined
      ? "nothing of the cluster is known yet"
      : `the cluster is as this node knew it at ${this.#rememberedAt}`;
  }

  #snapshot(revision: number, isInSync: boolean): Snapshot {
    const snapshot = this.#objects.snapshot(revision, isInSync);
    if (isInSync) this.#copy?.keep(snapshot);
    return this.#rememberedAt === undefined ? snapshot : { ...snapshot, isRemembered: true };
  }
}
