// Where the cluster comes from: files, the Kubernetes API, later etcd. All give the same snapshots.
import type { Snapshot } from "../../core/cluster/model.ts";
import type { SourceStatus } from "../../core/status.ts";

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
}
