// What the contract suite of cluster sources needs of a backend: a place that a source reads, in the
// hands of the test.
import type { Source } from "../../daemon/source/source.ts";

/** A Kubernetes object as its manifest has it. */
export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly [key: string]: unknown;
  };
  readonly [key: string]: unknown;
}

export interface SourceWorld extends AsyncDisposable {
  /** A source that reads this place. The caller disposes it. */
  open(): Source;
  /** Makes these objects, or replaces those that are there; returns when the place has them all. */
  put(...objects: readonly KubernetesObject[]): Promise<void>;
  /** The very same objects, or others with their kinds and names. */
  remove(...objects: readonly KubernetesObject[]): Promise<void>;
  /**
   * From now on sources cannot reach the place, and what they have of it is cut off. put() and remove()
   * go on working.
   */
  goAway(): Promise<void>;
  comeBack(): Promise<void>;
}

/** Gives another, empty place each time. */
export type NewSourceWorld = () => Promise<SourceWorld>;
