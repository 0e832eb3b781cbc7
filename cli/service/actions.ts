import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Ip, parseIp } from "../../core/address.ts";
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
import { parseServicePort } from "./port.ts";

const readMs = 20_000;
/** Until it is clear that no endpoint answers. */
const listMs = 5000;

export function publish(name: string, options: PublishOptions, context: CliContext): void {
  const file = fileOf(name, options);
  const { namespace, port, address } = options;
  const addresses = address.map(parseAddress);
  const ports = port.map(parseServicePort);
  if (ports.length > 1 && ports.some((one) => one.name === undefined)) {
    throw new UsageError("Cannot publish several ports without names: expected name=port for each");
  }
  requireRoot("publish a service");
  etcdOf(options);
  replaceFile(file, formatServiceFile({ namespace, name, ports, addresses }), 0o644);
  const text = `published ${namespace}/${name}: ${addresses.join(" ")}; the daemon tells the cluster`;
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
  const slices = [...snapshot.endpointSlices.values()];
  const services = [...snapshot.services.values()].map(
    ({ namespace, name, clusterIps, ports }) => ({
      namespace,
      name,
      clusterIps,
      ports,
      endpoints: slices
        .filter((slice) => slice.namespace === namespace && slice.serviceName === name)
        .flatMap(({ endpoints }) => endpoints)
        .flatMap(({ addresses, nodeName }) => addresses.map((address) => ({ address, nodeName }))),
    }),
  );
  for (const problem of problems) context.stderr(`fairlead: ${problem}\n`);
  const rows = services.map(({ namespace, name, clusterIps, ports, endpoints }) => [
    `${namespace}/${name}`,
    clusterIps.join(" ") || "none",
    ports.map((one) => `${one.port}/${one.protocol}`).join(" "),
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

function parseAddress(text: string): Ip {
  const address = parseIp(text);
  if (address === undefined) {
    throw new UsageError(`Cannot use the address "${text}": expected an IPv4 or IPv6 address`);
  }
  return address;
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
