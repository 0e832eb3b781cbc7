// What kernel/pair-thread.ts and kernel/pair-worker.ts say to each other.
import type { IfName } from "../core/names.ts";
import type { Change } from "../core/network.ts";

/** A veth pair and what hangs on it: the node's batch, then the sandbox's. */
export interface PairBatches {
  readonly node: readonly Change[];
  readonly sandbox: readonly Change[];
  /** The node's end. */
  readonly device: IfName;
  /** The sandbox's namespace, open until the answer: threads share descriptors. */
  readonly sandboxFd: number;
}

export interface WorkerStart {
  /** Path of the node's namespace's file. Default: the one that the process is in. */
  readonly namespace?: string;
}

export interface PairJob {
  readonly serial: number;
  readonly batches: PairBatches;
}

/** Of a KernelError, which loses what it is when it is cloned. */
export interface PairFailure {
  readonly batch: "node" | "sandbox";
  readonly operation: string;
  readonly errno: string;
  readonly kernelMessage: string;
}

export interface PairAnswer {
  readonly serial: number;
  /** That the pair carries packets already was seen. */
  readonly isRunning?: boolean;
  readonly failure?: PairFailure;
}
