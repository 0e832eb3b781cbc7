// The source that the configuration names. Only what that one needs is loaded.
import type { Clock } from "../../core/clock.ts";
import type { Log } from "../../core/log.ts";
import type { NodeFacts } from "../../core/node-facts.ts";
import type { Paths } from "../../core/paths.ts";
import type { Ipam } from "../../ipam/ipam.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { systemRandom } from "../../kernel/random.ts";
import type { Config } from "../config.ts";
import { openFileSource } from "./file-source.ts";
import type { Source } from "./source.ts";

export interface SourceContext {
  readonly config: Config;
  readonly paths: Paths;
  readonly clock: Clock;
  readonly log: Log;
}

/** What a node that tells the cluster of itself has to tell. */
export interface OwnNode {
  readonly kernel: Kernel;
  readonly ipam: Ipam;
  /** What it was when it last was ready. */
  readonly known: () => NodeFacts | undefined;
}

/** Throws ConfigError where it cannot even be asked: a kubeconfig that is wrong. */
export async function openSource(context: SourceContext, own: OwnNode): Promise<Source> {
  const { config, log } = context;
  const { source } = config.cluster;
  if (source.kind === "file") return openFileSource({ directory: source.directory, log });
  if (source.kind === "etcd") {
    const { openEtcdCluster } = await import("../etcd/open.ts");
    return openEtcdCluster({ ...context, ...own, etcd: source });
  }
  const { openKubernetes } = await import("./open-kubernetes.ts");
  return openKubernetes({ ...context, source, random: systemRandom });
}
