// The source that the configuration names. Only what that one needs is loaded.
import { systemRandom } from "../kernel/random.ts";
import { openFileSource } from "./source/file-source.ts";
import type { OwnNode, SourceContext } from "./source/source-context.ts";
import type { Source } from "./source/source.ts";

/** Throws ConfigError where it cannot even be asked: a kubeconfig that is wrong. */
export async function openSource(context: SourceContext, own: OwnNode): Promise<Source> {
  const { config, log } = context;
  const { source } = config.cluster;
  if (source.kind === "file") return openFileSource({ directory: source.directory, log });
  if (source.kind === "etcd") {
    const { openEtcdCluster } = await import("./etcd/open.ts");
    return openEtcdCluster({ ...context, ...own, etcd: source });
  }
  const { openKubernetes } = await import("./kubernetes/open-kubernetes.ts");
  return openKubernetes({ ...context, source, random: systemRandom });
}
