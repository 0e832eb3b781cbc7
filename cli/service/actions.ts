import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { paths } from "../../core/paths.ts";
import { describeError } from "../../core/error.ts";
import { isDnsLabel } from "../../core/schema.ts";
import { type EtcdConfig, loadConfig } from "../../daemon/config/config.ts";
import { EtcdClient, hastyTiming } from "../../daemon/etcd/client.ts";
import { readEtcdOnce } from "../../daemon/etcd/read-once.ts";
import { keysUnder } from "../../daemon/etcd/keys.ts";
import { withdrawFromEtcd } from "../../daemon/etcd/shared-services.ts";
import { formatServiceFile, serviceFileName } from "../../daemon/etcd/service-file.ts";
import { replaceFile } from "../../daemon/files/replace-file.ts";
import { type CliContext, UsageError } from "../context.ts";
import { requireEtcd } from "../etcd-config.ts";
import { requireRoot } from "../root.ts";
import { formatTable } from "../table.ts";
import type { PublishOptions, ServiceOptions } from "./command.ts";
import { parseEndpoints } from "./endpoints.ts";
import { whatFollows } from "./follow-up.ts";
import { formatPort, listServices } from "./listed.ts";

const readMs = 20_000;
/** Until it is clear that no endpoint answers. */
const listMs = 5000;

export async function publish(
  name: string,
  options: PublishOptions,
  context: CliContext,
): Promise<void> {
  const file = fileOf(name, options);
  const { namespace } = options;
  const { ports, addresses } = parseEndpoints(options.port, options.address);
  requireRoot("publish a service");
  etcdOf(options);
  replaceFile(file, formatServiceFile({ namespace, name, ports, addresses }), 0o644);
  const next = await whatFollows(paths.statusSocket, context.signal);
  const text = `published ${namespace}/${name}: ${addresses.join(" ")}; ${next}`;
  print(context, options, { namespace, name, ports, addresses }, text);
}

export async function withdraw(
  name: string,
  options: ServiceOptions,
  context: CliContext,
): Promise<void> {
  const file = fileOf(name, options);
  const { namespace } = options;
  requireRoot("withdraw a service");
  const etcd = etcdOf(options);
  if (!existsSync(file)) {
    throw new Error(`Cannot withdraw ${namespace}/${name}: this node publishes no endpoint of it`);
  }
  rmSync(file, { force: true });
  // A daemon that runs does the same. One that does not will not know, when it starts, that there was anything.
  using client = new EtcdClient(etcd);
  const signal = AbortSignal.any([context.signal, AbortSignal.timeout(readMs)]);
  const { nodeName } = loadConfig(options.config);
  const place = { keys: keysUnder(etcd.prefix), nodeName };
  try {
    await withdrawFromEtcd(client, place, { namespace, name }, signal);
  } catch (error) {
    context.stderr(
      `fairlead: cannot tell etcd now: its endpoints go with the node's lease, the service within two hours: ${describeError(error)}\n`,
    );
  }
  print(context, options, { namespace, name }, `withdrew ${namespace}/${name}`);
}

export async function list(options: ServiceOptions, context: CliContext): Promise<void> {
  requireRoot("read the cluster's etcd");
  const etcd = etcdOf(options);
  using client = new EtcdClient(etcd, hastyTiming(etcd, listMs));
  const signal = AbortSignal.any([context.signal, AbortSignal.timeout(readMs)]);
  const { snapshot, problems } = await readEtcdOnce(client, etcd.prefix, signal);
  const { services, problems: differences } = listServices(snapshot);
  for (const problem of [...problems, ...differences]) context.stderr(`fairlead: ${problem}\n`);
  const rows = services.map(({ namespace, name, clusterIps, ports, endpoints }) => [
    `${namespace}/${name}`,
    clusterIps.join(" ") || "none",
    ports.map(formatPort).join(" ") || "none",
    endpoints.map(({ address, nodeName }) => `${address}@${nodeName ?? "?"}`).join(" ") || "none",
  ]);
  const text =
    rows.length === 0
      ? "no service"
      : formatTable([["SERVICE", "CLUSTER IP", "PORTS", "ENDPOINTS"], ...rows]);
  print(context, options, services, text);
}

function fileOf(name: string, { namespace }: ServiceOptions): string {
  for (const [what, text] of [
    ["service", name],
    ["namespace", namespace],
  ] as const) {
    if (isDnsLabel(text)) continue;
    throw new UsageError(
      `Cannot name a ${what} "${text}": expected up to 63 lower-case letters, digits and -`,
    );
  }
  return join(paths.services, serviceFileName({ namespace, name }));
}

const etcdOf = ({ config }: ServiceOptions): EtcdConfig =>
  requireEtcd(config, "Cannot tell the cluster of services");

function print(
  context: CliContext,
  { json = false }: ServiceOptions,
  value: object,
  text: string,
): void {
  context.stdout(json ? `${JSON.stringify(value, null, 2)}\n` : `${text.trimEnd()}\n`);
}
