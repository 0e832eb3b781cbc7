import { type Config, type EtcdConfig, loadConfig } from "../daemon/config/config.ts";

/**
 * The daemon's configuration of etcd. Throws where the cluster's source is another.
 * @param cannot as "Cannot tell the cluster of services".
 * @param instead what to do with another source.
 */
export function requireEtcd(
  config: string | undefined,
  cannot: string,
  instead: Partial<Record<Config["cluster"]["source"]["kind"], string>> = {},
): EtcdConfig {
  const { source }: Config["cluster"] = loadConfig(config).cluster;
  if (source.kind === "etcd") return source;
  const hint = instead[source.kind];
  throw new Error(
    `${cannot}: cluster.source is ${source.kind}, expected etcd${hint === undefined ? "" : `; ${hint}`}`,
  );
}
