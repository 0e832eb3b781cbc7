import type { Ip } from "../address.ts";
import type { PodName } from "../cni/pod-name.ts";

/**
 * An interface of a pod on a network, as the node that made it knows it: without Kubernetes all that
 * is known of the pod. A node tells the others of its own by this.
 */
export interface Attachment {
  /** The same for one attachment always, another for each other one of the cluster. */
  readonly id: string;
  readonly nodeName: string;
  /** As the network configuration has it. */
  readonly network: string;
  readonly addresses: readonly Ip[];
  /** Where the runtime said who the pod is. */
  readonly pod?: PodName;
  /** Further names of the pod on this network, each one DNS label in lower case. */
  readonly aliases: readonly string[];
}
