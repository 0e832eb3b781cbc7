// The cluster from the Kubernetes API: five resources, listed and watched, each by itself.
import type { Clock, Random } from "../../core/clock.ts";
import type { Snapshot } from "../../core/cluster/model.ts";
import { describeError } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import { listWords } from "../../core/schema.ts";
import { processorMs } from "../../kernel/processor-time.ts";
import { readClusterCopy } from "../source/cluster-copy.ts";
import { type CopyTiming, KeptCopy } from "../source/kept-copy.ts";
import { ObjectSet } from "../source/object-set.ts";
import type { Source, SourceState } from "../source/source.ts";
import { type Standing, StateFeed } from "../source/state-feed.ts";
import type { ReadKind } from "../source/trim-object.ts";
import { Turns } from "../source/turns.ts";
import type { ApiClient } from "./api-client.ts";
import { ResourceList } from "./resource-list.ts";
import {
  ResourceWatch,
  usualTiming as usualWatchTiming,
  type WatchedResource,
  type WatchTiming,
} from "./resource-watch.ts";

export interface KubernetesSourceOptions {
  /** Stays the caller's. */
  readonly client: ApiClient;
  /** Of this node: its pods are read, others' only where `allPods`. */
  readonly nodeName: string;
  readonly allPods: boolean;
  /** Is given this cluster's Nodes as the API has them. */
  readonly observeNode?: (raw: unknown) => void;
  /** Where the cluster's copy is kept; absent: nowhere. */
  readonly copyPath?: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly timing?: KubernetesSourceTiming;
}

export interface KubernetesSourceTiming {
  readonly watch: WatchTiming;
  readonly copy: CopyTiming;
  /** From one snapshot to the next, at least; and in times of the processor's time that making one took. */
  readonly pauseMs: number;
  readonly pauseFactor: number;
  /** While the first lists come, a snapshot is given so often. */
  readonly partialMs: number;
  /** The copy is read when the API has not answered for so long after the start. */
  readonly copyAfterMs: number;
}

const usualTiming: KubernetesSourceTiming = {
  watch: usualWatchTiming,
  copy: { firstMs: 2000, afterMs: 1_000, pauseFactor: 100 },
  pauseMs: 10,
  pauseFactor: 10,
  partialMs: 2000,
  copyAfterMs: 2000,
};

/** Of the copy, which may have as many as the cluster. */
const objectsPerTurn = 100;
/** Of single objects: so many are named. */
const namedProblems = 20;

interface Kind {
  readonly kind: ReadKind;
  readonly apiVersion: string;
  readonly resource: WatchedResource;
}

const kindsFor = (nodeName: string, allPods: boolean): readonly Kind[] => [
  { kind: "Node", apiVersion: "v1", resource: { name: "nodes", path: "/api/v1/nodes" } },
  {
    kind: "Namespace",
    apiVersion: "v1",
    resource: { name: "namespaces", path: "/api/v1/namespaces" },
  },
  { kind: "Service", apiVersion: "v1", resource: { name: "services", path: "/api/v1/services" } },
  {
    kind: "EndpointSlice",
    apiVersion: "discovery.k8s.io/v1",
    resource: { name: "endpointslices", path: "/apis/discovery.k8s.io/v1/endpointslices" },
  },
  {
    kind: "Pod",
    apiVersion: "v1",
    resource: {
      name: "pods",
      path: "/api/v1/pods",
      ...(!allPods && { fieldSelector: `spec.nodeName=${nodeName}` }),
    },
  },
];

/** Starts reading. The first snapshot that is in sync has every list complete. */
export const openKubernetesSource = (options: KubernetesSourceOptions): Source =>
  new KubernetesSource(options);

interface Read {
  readonly name: string;
  readonly list: ResourceList;
}

class KubernetesSource implements Source {
  readonly kind = "kubernetes";
  readonly location: string;
  readonly #timing: KubernetesSourceTiming;
  readonly #objects = new ObjectSet();
  readonly #read: readonly Read[];
  readonly #resources = new DisposableStack();
  readonly #feed: StateFeed;
  readonly #copy: KeptCopy | undefined;
  #pauseMs = 0;
  /** When what was read from the disk was true; undefined: nothing was. */
  #rememberedAt: string | undefined;
  #copyProblem: string | undefined;

  constructor(options: KubernetesSourceOptions) {
    const { client, nodeName, allPods, clock, random, log, copyPath, observeNode } = options;
    this.location = client.location;
    this.#timing = options.timing ?? usualTiming;
    const { watch: timing, copy, copyAfterMs } = this.#timing;
    this.#feed = this.#resources.use(new StateFeed(() => this.#look(), log));
    const onChange = (): void => this.#expect();
    const objects = this.#objects;
    const turns = new Turns();
    this.#read = kindsFor(nodeName, allPods).map(({ kind, apiVersion, resource }) => {
      const observe = kind === "Node" ? observeNode : undefined;
      const listOptions = { kind, apiVersion, objects, onChange, ...(observe && { observe }) };
      const list = new ResourceList(listOptions);
      const watch = { client, resource, sink: list, clock, random, log, timing, turns };
      this.#resources.use(new ResourceWatch(watch));
      return { name: resource.name, list };
    });
    if (copyPath === undefined) return;
    const copyOptions = { path: copyPath, copyOf: client.location, clock, log, timing: copy };
    this.#copy = this.#resources.use(new KeptCopy(copyOptions));
    const timer = setTimeout(() => void this.#remember(copyPath, turns), copyAfterMs);
    this.#resources.defer(() => clearTimeout(timer));
  }

  state(): SourceState {
    return this.#feed.state;
  }

  subscribe(listener: (state: SourceState) => void): Disposable {
    return this.#feed.subscribe(listener);
  }

  [Symbol.dispose](): void {
    this.#resources.dispose();
  }

  get #isListed(): boolean {
    return this.#read.every(({ list }) => list.isListed);
  }

  #expect(): void {
    const isUntroubled = this.#read.every(({ list }) => list.reason === undefined);
    const isWaiting = !this.#isListed && isUntroubled;
    this.#feed.expect(isWaiting ? this.#timing.partialMs : this.#pauseMs);
  }

  #look(): Standing {
    const isInSync = this.#isListed && this.#objects.problems.length === 0;
    return {
      isInSync,
      problems: this.#problems(),
      hasChanged: this.#objects.takeChange(),
      snapshot: (revision, isInSyncOnce) => this.#snapshot(revision, isInSyncOnce),
    };
  }

  #snapshot(revision: number, isInSync: boolean): Snapshot {
    const workedMs = processorMs();
    const built = this.#objects.snapshot(revision, isInSync);
    const isRemembered = !isInSync && this.#rememberedAt !== undefined;
    const snapshot = isRemembered ? { ...built, isRemembered } : built;
    if (isInSync) this.#copy?.keep(snapshot);
    const { pauseMs, pauseFactor } = this.#timing;
    this.#pauseMs = Math.max(pauseMs, (processorMs() - workedMs) * pauseFactor);
    return snapshot;
  }

  #problems(): readonly string[] {
    const byReason = new Map<string, string[]>();
    for (const { name, list } of this.#read) {
      if (list.reason === undefined) continue;
      byReason.set(list.reason, [...(byReason.get(list.reason) ?? []), name]);
    }
    const unread = Array.from(byReason, ([reason, names]) => {
      const what = listWords(names, "and");
      return `Cannot read ${what} from ${this.location}: ${reason}`;
    });
    const wrong = this.#objects.problems;
    const left = wrong.length - namedProblems;
    return [
      ...unread,
      ...this.#copyProblems(),
      ...wrong.slice(0, namedProblems),
      ...(left > 0 ? [`${left} more objects cannot be used`] : []),
    ];
  }

  #copyProblems(): readonly string[] {
    if (this.#isListed) return [];
    const { location } = this;
    const at = this.#rememberedAt;
    if (at === undefined) return this.#copyProblem === undefined ? [] : [this.#copyProblem];
    return [
      `The cluster is as this node knew it at ${at}: ${location} has not given all of it since the start`,
    ];
  }

  /** What this node knew before it started, where the API does not say. */
  async #remember(path: string, turns: Turns): Promise<void> {
    if (this.#isListed) return;
    try {
      const copy = readClusterCopy(path, this.location);
      if (copy === undefined) return;
      let count = 0;
      for (const object of copy.objects) {
        for (const { list } of this.#read) list.remember(object);
        if (++count % objectsPerTurn === 0) await turns.next();
        if (this.#resources.disposed) return;
      }
      this.#rememberedAt = copy.at;
    } catch (error) {
      this.#copyProblem = describeError(error);
    }
    this.#feed.expect();
  }
}
