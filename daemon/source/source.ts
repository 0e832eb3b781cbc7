// Where the cluster comes from: files, the Kubernetes API, later etcd. All give the same snapshots.
import type { Snapshot } from "../../core/cluster/model.ts";
import type { SourceStatus, StatusProblem } from "../../core/status.ts";
import type { BackoffTiming } from "./backoff.ts";

export interface SourceState {
  readonly snapshot: Snapshot;
  /** What could not be read, one sentence each; the last good version of it is in the snapshot. */
  readonly problems: readonly string[];
}

export interface Source extends Disposable {
  readonly kind: SourceStatus["kind"];
  /** Where it reads, for an operator. */
  readonly location: string;
  /** The newest state; before the first list, the empty snapshot. */
  state(): SourceState;
  /** Calls back after every change of the state, not for the one there is now. */
  subscribe(listener: (state: SourceState) => void): Disposable;
  /** Where the cluster wants to know how its nodes are: tells it from now on. */
  tell?(standing: () => NodeStanding, timing?: VoiceTiming): Telling;
}

/** What a node tells its cluster of itself. */
export interface NodeStanding {
  /** Pods can be attached. */
  readonly isReady: boolean;
  readonly problems: readonly StatusProblem[];
}

export interface Telling extends Disposable {
  /** What could not be told. */
  readonly problems: readonly string[];
}

export interface VoiceTiming extends BackoffTiming {
  /** How often it looks whether there is something to tell. */
  readonly everyMs: number;
  readonly events: EventBudget;
}

/** Which problems are told as events. */
export interface EventBudget {
  /** A problem must have been there for so long. */
  readonly lastingMs: number;
  /** The same is told again after this time at the earliest. */
  readonly againMs: number;
  /** So many within `windowMs`. */
  readonly most: number;
  readonly windowMs: number;
}
