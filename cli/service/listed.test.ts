import { expect, test } from "vitest";
import type { EndpointSlice, Service } from "../../core/cluster/model.ts";
import { aSnapshot, ip } from "../../test/support/builders.ts";
import { listServices } from "./listed.ts";

const service: Service = {
  namespace: "shop",
  name: "web",
  type: "ClusterIP",
  clusterIps: [],
  isHeadless: true,
  ports: [{ protocol: "tcp", port: 80 }],
};
const slice = (nodeName: string, address: string, port: number): EndpointSlice => ({
  namespace: "shop",
  name: `web.ipv4.${nodeName}`,
  serviceName: "web",
  ports: [{ protocol: "tcp", port }],
  endpoints: [{ addresses: [ip(address)], isReady: true, nodeName }],
});
const listed = (one: Service, ...slices: readonly EndpointSlice[]) =>
  listServices({
    ...aSnapshot(),
    services: new Map([["shop/web", one]]),
    endpointSlices: new Map(slices.map((each) => [`shop/${each.name}`, each])),
  });

test("listServices() has the ports of the nodes that have endpoints, not of one that has left", () => {
  const { services, problems } = listed(service, slice("node-b", "10.244.2.7", 8080));
  expect(services).toEqual([
    {
      namespace: "shop",
      name: "web",
      clusterIps: [],
      ports: [{ protocol: "tcp", port: 8080 }],
      endpoints: [{ address: "10.244.2.7", nodeName: "node-b" }],
    },
  ]);
  expect(problems).toEqual([]);
});

test("listServices() has the Service's ports where nobody has endpoints, or it has a cluster IP", () => {
  expect(listed(service).services[0]?.ports).toEqual(service.ports);
  const own = { ...service, isHeadless: false, clusterIps: [ip("10.96.0.7")] };
  expect(listed(own, slice("node-b", "10.244.2.7", 8080)).services[0]?.ports).toEqual(own.ports);
});

test("listServices() names nodes whose ports differ", () => {
  const { services, problems } = listed(
    service,
    slice("node-a", "10.244.1.7", 80),
    slice("node-b", "10.244.2.7", 8080),
    slice("node-c", "10.244.3.7", 80),
  );
  expect(services[0]?.ports.map(({ port }) => port)).toEqual([80, 8080]);
  expect(problems).toEqual([
    "The ports of shop/web differ: 80/tcp on node-a, node-c; 8080/tcp on node-b: publish the same ports on each",
  ]);
});
