// The source that the configuration names. Only what that one needs is loaded.
import { systemRandom } from "../kernel/random.ts";
import { begunSource } from "./source/begun-source.ts";
import { openFileSource } from "./source/file-source.ts";
import type { OwnNode, SourceContext } from "./source/source-context.ts";
import type { Source } from "./source/source.ts";

export interface OpenSource extends Disposable {
  readonly source: Source;
  /** For those who answer names: in place of another daemon, from the start as that one knew the cluster. */
  readonly named: Source;
}

/**
 * Throws ConfigError where it cannot even be asked: a kubeconfig that is wrong; where another daemon runs
 * until this one knows the cluster, and the cluster is in etcd, also an error that says why etcd would not do.
 */
export async function openSource(
  context: SourceContext,
  own: OwnNode,
  signal: AbortSignal,
): Promise<OpenSource> {
  const { config, log, clock } = context;
  const { source } = config.cluster;
  if (source.kind === "file") {
    return asItIs(openFileSource({ directory: source.directory, log }));
  }
  if (source.kind === "etcd") {
    const { openEtcdCluster, readEtcdBefore } = await import("./etcd/open.ts");
    const etcd = { ...context, etcd: source };
    const before = own.alone && (await readEtcdBefore(etcd, signal));
    const opened = openEtcdCluster({ ...etcd, ...own });
    return before
      ? { ...asItIs(opened), named: begunSource(opened, before, clock) }
      : asItIs(opened);
  }
  const { openKubernetes } = await import("./kubernetes/open-kubernetes.ts");
  return asItIs(openKubernetes({ ...context, source, random: systemRandom }));
}

const asItIs = (source: Source): OpenSource => ({
  source,
  named: source,
  [Symbol.dispose]: () => source[Symbol.dispose](),
});
