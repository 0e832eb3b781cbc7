import type { EndpointPort, EndpointSlice, Service, Snapshot } from "../../core/cluster/model.ts";
import type { Ip } from "../../core/address.ts";

export interface ListedService extends Pick<Service, "namespace" | "name" | "clusterIps"> {
  readonly ports: readonly EndpointPort[];
  readonly endpoints: readonly { readonly address: Ip; readonly nodeName: string | undefined }[];
}

export interface Listing {
  readonly services: readonly ListedService[];
  /** Of services whose nodes do not agree. */
  readonly problems: readonly string[];
}

/** A headless service has the ports of those who have endpoints of it, also where its Service was made by another. */
export function listServices({ services, endpointSlices }: Snapshot): Listing {
  const slices = Map.groupBy(endpointSlices.values(), ({ namespace, serviceName }) =>
    [namespace, serviceName].join("/"),
  );
  const problems: string[] = [];
  const listed = [...services.values()].map((service): ListedService => {
    const { namespace, name, clusterIps } = service;
    const own = (slices.get(`${namespace}/${name}`) ?? []).filter(
      ({ endpoints }) => endpoints.length > 0,
    );
    if (service.isHeadless) problems.push(...differences(`${namespace}/${name}`, own));
    return {
      namespace,
      name,
      clusterIps,
      ports: service.isHeadless && own.length > 0 ? unionOf(own) : service.ports,
      endpoints: own
        .flatMap(({ endpoints }) => endpoints)
        .flatMap(({ addresses, nodeName }) => addresses.map((address) => ({ address, nodeName }))),
    };
  });
  return { services: listed, problems };
}

/** `http=80/tcp`. */
export const formatPort = ({ name, port, protocol }: EndpointPort): string =>
  `${name === undefined ? "" : `${name}=`}${port ?? "all"}/${protocol}`;

const portsText = ({ ports }: EndpointSlice): string =>
  ports.map(formatPort).sort().join(" ") || "none";

function unionOf(slices: readonly EndpointSlice[]): readonly EndpointPort[] {
  const ports = slices.flatMap((slice) => slice.ports);
  return [...new Map(ports.map((port) => [formatPort(port), port])).values()];
}

function differences(service: string, slices: readonly EndpointSlice[]): readonly string[] {
  const byPorts = Map.groupBy(slices, portsText);
  if (byPorts.size < 2) return [];
  const said = [...byPorts].map(([ports, some]) => {
    const nodes = some.flatMap(({ endpoints }) => endpoints.map(({ nodeName }) => nodeName ?? "?"));
    return `${ports} on ${[...new Set(nodes)].join(", ")}`;
  });
  return [`The ports of ${service} differ: ${said.join("; ")}: publish the same ports on each`];
}
