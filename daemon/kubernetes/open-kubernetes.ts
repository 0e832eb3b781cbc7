// The Kubernetes source with the access to the API that the configuration, or the pod, gives.
import type { Random } from "../../core/clock.ts";
import { divisionKey } from "../../ipam/claims/records.ts";
import type { ClusterSource } from "../config/config.ts";
import { machineId } from "../node/machine-id.ts";
import type { SourceContext } from "../source/source-context.ts";
import type { Source } from "../source/source.ts";
import { ApiClient } from "./api-client.ts";
import { openKubernetesClaims } from "./claim-store.ts";
import { inClusterAccess } from "./in-cluster.ts";
import { readKubeconfig } from "./kubeconfig.ts";
import { openKubernetesSource } from "./kubernetes-source.ts";
import { NodeVoice } from "./node-voice.ts";
import { type OwnNode, readOwnNode } from "./own-node.ts";
import { PodCidrGiver } from "./pod-cidrs.ts";

export interface KubernetesContext extends SourceContext {
  readonly source: Extract<ClusterSource, { readonly kind: "kubernetes" }>;
  readonly random: Random;
}

/** Throws ConfigError for a kubeconfig that is wrong, and where there is none and this is no pod. */
export function openKubernetes(context: KubernetesContext): Source {
  const { config, paths, source, clock, random, log } = context;
  const { kubeconfig } = source;
  const access =
    kubeconfig === undefined ? inClusterAccess(process.env) : readKubeconfig(kubeconfig);
  log.info({ server: access.server, by: access.where }, "reads the cluster from Kubernetes");
  const client = new ApiClient(access, clock, {
    ...(kubeconfig !== undefined && { reload: () => readKubeconfig(kubeconfig) }),
  });
  const { nodeName } = config;
  let ownNode: OwnNode | undefined;
  const opened = openKubernetesSource({
    client,
    nodeName,
    allPods: config.dns.isEnabled && config.dns.pods === "verified",
    observeNode: (raw) => {
      ownNode = readOwnNode(raw, nodeName) ?? ownNode;
    },
    copyPath: paths.clusterCopy,
    clock,
    random,
    log,
  });
  const giver = source.allocatePodCidrs ? openGiver(context, client, () => ownNode) : undefined;
  return {
    kind: opened.kind,
    location: opened.location,
    state: () => {
      const state = opened.state();
      const problems = giver?.problems ?? [];
      return problems.length === 0
        ? state
        : { ...state, problems: [...state.problems, ...problems] };
    },
    subscribe: (listener) => opened.subscribe(listener),
    tell: (standing, timing) =>
      new NodeVoice({
        client,
        nodeName,
        ownNode: () => ownNode,
        standing,
        clock,
        random,
        log,
        ...(timing && { timing }),
      }),
    [Symbol.dispose]: () => {
      giver?.[Symbol.dispose]();
      opened[Symbol.dispose]();
      client[Symbol.dispose]();
    },
  };
}

/** Where the claims' Leases are: the namespace of conf/kubernetes. */
const claimsNamespace = "fairlead";

function openGiver(
  { config, paths, clock, random, log }: KubernetesContext,
  client: ApiClient,
  ownNode: () => OwnNode | undefined,
): PodCidrGiver {
  const { nodeName, network } = config;
  const ownerOf = (key: string) =>
    key === divisionKey ? undefined : { name: nodeName, uid: ownNode()?.uid ?? "" };
  const claims = { client, namespace: claimsNamespace, network: network.name, ownerOf };
  const store = openKubernetesClaims(claims);
  const instance = machineId(paths);
  const common = { client, nodeName, network, ownNode, clock, random, log };
  return new PodCidrGiver({ ...common, store, instance });
}
