// What one node may publish of a service.
import { cidrContains, type Ip, parseIp } from "../../core/address.ts";
import { specialNetworks } from "../../core/special-networks.ts";
import type { PublishedService } from "../../daemon/etcd/service-file.ts";
import { UsageError } from "../context.ts";
import { parseServicePort } from "./port.ts";

type Endpoints = Pick<PublishedService, "ports" | "addresses">;

/** `--port` and `--address`, each as often as it was given. Throws UsageError naming the value and what would do. */
export function parseEndpoints(ports: readonly string[], addresses: readonly string[]): Endpoints {
  if (ports.length === 0) {
    throw new UsageError("Cannot publish a service without a port: give --port PORT");
  }
  if (addresses.length === 0) {
    throw new UsageError(
      'Cannot publish a service without an endpoint: give --address ADDRESS ("service withdraw" takes those there are back)',
    );
  }
  return { ports: parsePorts(ports), addresses: addresses.map(parseEndpoint) };
}

function parsePorts(texts: readonly string[]): Endpoints["ports"] {
  const ports = texts.map(parseServicePort);
  const seen = new Set<string>();
  for (const { name } of ports) {
    if (name === undefined) {
      if (ports.length === 1) continue;
      throw new UsageError(
        "Cannot publish several ports without names: expected name=port for each",
      );
    }
    if (seen.has(name)) {
      throw new UsageError(`Cannot publish two ports named "${name}": give each a name of its own`);
    }
    seen.add(name);
  }
  return ports;
}

/** As Kubernetes has it for EndpointSlices: an address at which other nodes find the one endpoint. */
function parseEndpoint(text: string): Ip {
  const address = parseIp(text);
  if (address === undefined) {
    throw new UsageError(`Cannot use the address "${text}": expected an IPv4 or IPv6 address`);
  }
  const special = specialNetworks.find(({ cidr }) => cidrContains(cidr, address));
  if (special === undefined) return address;
  throw new UsageError(
    `Cannot use the address "${text}": it is ${special.what}; expected one at which other nodes reach the endpoint`,
  );
}
