// Which pool a pod's addresses are of, and what this node has of it.
import { CniCode, CniError } from "../core/cni/error.ts";
import type { PodName } from "../core/cni/pod-name.ts";
import { objectKey } from "../core/cluster/model.ts";
import type { NodeFacts } from "../core/node-facts.ts";
import { defaultPool, type NodePool, nodePools, poolAnnotation } from "../core/pool.ts";
import { listWords } from "../core/schema.ts";

export type PoolFacts = Pick<
  NodeFacts,
  "nodeName" | "podCidrs" | "pools" | "podPools" | "namespacePools"
>;

export interface PoolRequest {
  /** Whom the addresses are for, where the runtime says so. */
  readonly pod?: PodName | undefined;
  /** `ipam.pool` of the configuration. */
  readonly configured?: string | undefined;
}

interface Choice {
  readonly name: string;
  /** Who says so, to complete a message. */
  readonly by: string;
}

/**
 * The pool with its blocks on this node. The pod's annotation decides, else the namespace (its annotation,
 * or a pool's `namespaces`), else the configuration, else it is the default pool. Throws CniError:
 * invalidConfig for a name that no pool has, addressesExhausted for one without a block here.
 */
export function choosePool(facts: PoolFacts, request: PoolRequest): NodePool {
  const { name, by } = choiceOf(facts, request);
  const pools = nodePools(facts.podCidrs, facts.pools ?? []);
  const pool = pools.find((one) => one.name === name);
  if (pool === undefined) {
    const known = listWords(
      pools.map((one) => one.name),
      "or",
    );
    throw new CniError(
      CniCode.invalidConfig,
      `Cannot give addresses of pool "${name}"${by}: expected ${known}`,
    );
  }
  if (pool.podCidrs.length > 0) return pool;
  const option = name === defaultPool ? "" : ` --pool ${name}`;
  throw new CniError(
    CniCode.addressesExhausted,
    `Cannot give addresses of pool "${name}"${by}: node "${facts.nodeName}" has no block of it; ` +
      `"fairlead ipam assign --node ${facts.nodeName}${option}" gives it one`,
  );
}

function choiceOf(facts: PoolFacts, { pod, configured }: PoolRequest): Choice {
  if (pod !== undefined) {
    const { namespace, name } = pod;
    const ofPod = facts.podPools?.[objectKey(namespace, name)];
    if (ofPod !== undefined) {
      return { name: ofPod, by: ` (annotation ${poolAnnotation} of Pod ${namespace}/${name})` };
    }
    const ofNamespace = facts.namespacePools?.[namespace];
    if (ofNamespace !== undefined) {
      return { name: ofNamespace, by: ` (for pods of Namespace ${namespace})` };
    }
  }
  if (configured !== undefined) return { name: configured, by: " (ipam.pool)" };
  return { name: defaultPool, by: "" };
}
