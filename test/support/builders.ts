// Values for tests: parse or throw, and objects with sensible defaults.
import {
  type Cidr,
  type Ip,
  type InterfaceCidr,
  type Mac,
  parseCidr,
  parseInterfaceCidr,
  parseIp,
  parseMac,
} from "../../core/address.ts";
import type {
  EndpointSlice,
  Namespace,
  Node,
  Pod,
  Service,
  Snapshot,
} from "../../core/cluster/model.ts";
import { objectKey } from "../../core/cluster/model.ts";
import { type IfName, parseIfName } from "../../core/names.ts";

function required<T>(value: T | undefined, text: string): T {
  if (value === undefined) throw new Error(`Bad value in a test: "${text}"`);
  return value;
}

export const ip = (text: string): Ip => required(parseIp(text), text);
export const cidr = (text: string): Cidr => required(parseCidr(text), text);
export const interfaceCidr = (text: string): InterfaceCidr =>
  required(parseInterfaceCidr(text), text);
export const mac = (text: string): Mac => required(parseMac(text), text);
export const ifName = (text: string): IfName => required(parseIfName(text), text);

export const aNode = (
  name: string,
  address: string,
  podCidr: string,
  more: Partial<Node> = {},
): Node => ({ name, addresses: [ip(address)], podCidrs: [cidr(podCidr)], ...more });

interface SnapshotParts {
  readonly nodes?: readonly Node[];
  readonly namespaces?: readonly Namespace[];
  readonly services?: readonly Service[];
  readonly endpointSlices?: readonly EndpointSlice[];
  readonly pods?: readonly Pod[];
  readonly isInSync?: boolean;
  readonly revision?: number;
}

type Named = { readonly name: string };
type Namespaced = Named & { readonly namespace: string };

export const byName = <T extends Named>(items: readonly T[] = []): Map<string, T> =>
  new Map(items.map((item) => [item.name, item]));
const byKey = <T extends Namespaced>(items: readonly T[] = []): Map<string, T> =>
  new Map(items.map((item) => [objectKey(item.namespace, item.name), item]));

export const aSnapshot = (parts: SnapshotParts = {}): Snapshot => ({
  revision: parts.revision ?? 1,
  isInSync: parts.isInSync ?? true,
  nodes: byName(parts.nodes),
  namespaces: byName(parts.namespaces),
  services: byKey(parts.services),
  endpointSlices: byKey(parts.endpointSlices),
  pods: byKey(parts.pods),
});
