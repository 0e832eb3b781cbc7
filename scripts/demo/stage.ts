import type { LabCluster } from "../../cli/lab/cluster.ts";
import type { Lab } from "../../cli/lab/lab.ts";
import type { LabPod } from "../../cli/lab/pod.ts";
import type { Topology } from "../../cli/lab/topology.ts";
import { invariant } from "../../core/assert.ts";

/** What the demo's chapters share. */
export interface Stage {
  readonly lab: Lab;
  readonly topology: Topology;
  readonly cluster: LabCluster;
  /** The operator's command. */
  readonly command: string;
  /** A line of progress. */
  readonly report: (line: string) => void;
  /** A table, with what it shows. */
  readonly show: (title: string, table: string) => void;
  readonly signal: AbortSignal;
}

export function findPod(pods: readonly LabPod[], name: string): LabPod {
  const pod = pods.find((candidate) => candidate.name === name);
  invariant(pod !== undefined, `the demo has a pod ${name}`);
  return pod;
}

export function addressOf(pod: LabPod): string {
  const [address] = pod.addresses;
  invariant(address !== undefined, `pod ${pod.name} has an address`);
  return address;
}

/** The port that a pod serves: what its service's EndpointSlice says. */
export const portOf = (pod: LabPod): number => (pod.labels["app"] === "db" ? 5432 : 8080);
