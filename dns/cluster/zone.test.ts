import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type {
  EndpointSlice,
  Pod,
  Service,
  ServicePort,
  Snapshot,
} from "../../core/cluster/model.ts";
import { aSnapshot, ip } from "../../test/support/builders.ts";
import { RecordType } from "../message/message.ts";
import { formatName, parseName } from "../message/name.ts";
import { reverseNameOf } from "../message/reverse.ts";
import { ZoneFeed } from "./zone-feed.ts";
import { Zone, type PodNames } from "./zone.ts";

const first = { below: () => 0 };

const newZone = (pods: PodNames = "insecure"): Zone =>
  new Zone({ domain: parseName("Cluster.Local")!, ttl: 5, pods, nameservers: [ip("10.96.0.10")] });

function zoneOf(snapshot: Snapshot, pods: PodNames = "insecure"): Zone {
  const zone = newZone(pods);
  zone.apply(new ZoneFeed(pods === "verified").next(snapshot));
  return zone;
}

/** An answer as text: the kind, or the data of its records. */
function look(zone: Zone, name: string, type: keyof typeof RecordType = "A"): string {
  const question = { name: parseName(name)!, type: RecordType[type], class: 1 };
  const answer = zone.lookup(question, first);
  if (answer.kind === "alias") return `alias ${formatName(answer.target)}`;
  if (answer.kind !== "records") return answer.kind;
  return answer.answers
    .map(({ data }) => {
      if (data.kind === "address") return data.address;
      if (data.kind === "name") return formatName(data.name);
      return data.kind === "srv"
        ? `${data.port} ${data.weight} ${formatName(data.target)}`
        : data.kind;
    })
    .join(", ");
}

const aService = (more: Partial<Service> = {}): Service => ({
  namespace: "prod",
  name: "web",
  type: "ClusterIP",
  clusterIps: [ip("10.96.1.1")],
  isHeadless: false,
  ports: [],
  ...more,
});
const http: ServicePort = { name: "http", protocol: "tcp", port: 80 };
const aSlice = (
  addresses: readonly string[],
  more: Partial<EndpointSlice> & { hostname?: string } = {},
): EndpointSlice => ({
  namespace: "prod",
  name: "web-x",
  serviceName: "web",
  ports: [http],
  ...more,
  endpoints: addresses.map((address) => ({
    addresses: [ip(address)],
    isReady: true,
    ...(more.hostname && { hostname: more.hostname }),
  })),
});
const headless = (slices: readonly EndpointSlice[], isInSync = true): Snapshot =>
  aSnapshot({
    services: [aService({ isHeadless: true, clusterIps: [], ports: [http] })],
    endpointSlices: slices,
    isInSync,
  });

describe("Zone", () => {
  test("answers nothing it has not been told, and leaves other domains alone", () => {
    const zone = newZone();
    expect(look(zone, "web.prod.svc.cluster.local")).toBe("unready");
    expect(look(zone, "prod.svc.cluster.local")).toBe("unready");
    expect(look(zone, "1.2.3.10.in-addr.arpa", "PTR")).toBe("unready");
    expect(look(zone, "8.8.8.8.in-addr.arpa", "PTR")).toBe("outside");
    expect(look(zone, "example.com")).toBe("outside");
    expect(look(zone, "xcluster.local")).toBe("outside");
    expect(look(zone, "cluster.local", "NS")).toBe("ns.dns.cluster.local");
    expect(look(zone, "ns.dns.cluster.local")).toBe("10.96.0.10");
    expect(look(zone, "dns.cluster.local")).toBe("nodata");
  });

  test("before all is known, what a headless service lacks may still come", () => {
    const slices = [aSlice(["10.244.1.1"], { hostname: "a" })];
    const early = zoneOf(headless(slices, false));
    expect(look(early, "a.web.prod.svc.cluster.local")).toBe("10.244.1.1");
    expect(look(early, "a.web.prod.svc.cluster.local", "AAAA")).toBe("unready");
    expect(look(early, "b.web.prod.svc.cluster.local")).toBe("unready");
    expect(look(zoneOf(headless(slices)), "a.web.prod.svc.cluster.local", "AAAA")).toBe("nodata");
    const service = aSnapshot({ services: [aService()], isInSync: false });
    expect(look(zoneOf(service), "web.prod.svc.cluster.local", "AAAA")).toBe("nodata");
  });

  test("gives an endpoint without a host name a label that is one", () => {
    const zone = zoneOf(headless([aSlice(["fd00:10:244:1::", "::1", "fd00::7"])]));
    const host = "web.prod.svc.cluster.local";
    expect(look(zone, `fd00-10-244-1--0.${host}`, "AAAA")).toBe("fd00:10:244:1::");
    expect(look(zone, `0--1.${host}`, "AAAA")).toBe("::1");
    expect(look(zone, formatName(reverseNameOf(ip("fd00::7"))), "PTR")).toBe(`fd00--7.${host}`);
  });

  test("exists at _tcp where a port stands below, and nowhere else", () => {
    const zone = zoneOf(headless([aSlice(["10.244.1.1"])]));
    expect(look(zone, "_tcp.web.prod.svc.cluster.local", "SRV")).toBe("nodata");
    expect(look(zone, "_udp.web.prod.svc.cluster.local", "SRV")).toBe("nxdomain");
    expect(look(zone, "_http._tcp.web.prod.svc.cluster.local", "SRV")).toBe(
      "80 100 10-244-1-1.web.prod.svc.cluster.local",
    );
    expect(look(zone, "x._http._tcp.web.prod.svc.cluster.local", "SRV")).toBe("nxdomain");
    // One label that only reads like two.
    expect(look(zone, "_http\\._tcp.web.prod.svc.cluster.local", "SRV")).toBe("nxdomain");
  });

  test("shares the weight among endpoints, at least one each", () => {
    const addresses = Array.from({ length: 150 }, (_, i) => `10.244.1.${i}`);
    const name = "_http._tcp.web.prod.svc.cluster.local";
    expect(look(zoneOf(headless([aSlice(addresses)])), name, "SRV")).toMatch(/^80 1 /);
    expect(look(zoneOf(headless([aSlice(addresses.slice(0, 3))])), name, "SRV")).toMatch(/^80 33 /);
  });

  test("keeps a port without a number out of SRV", () => {
    const zone = zoneOf(
      headless([aSlice(["10.244.1.1"], { ports: [{ name: "any", protocol: "tcp" }] })]),
    );
    expect(look(zone, "web.prod.svc.cluster.local")).toBe("10.244.1.1");
    expect(look(zone, "_any._tcp.web.prod.svc.cluster.local", "SRV")).toBe("nxdomain");
  });

  test("has no record for an external name that is none", () => {
    const externals = ["", "a..b", "x".repeat(64)];
    for (const externalName of externals) {
      const service = aService({ type: "ExternalName", clusterIps: [], externalName });
      const zone = zoneOf(aSnapshot({ services: [service] }));
      expect(look(zone, "web.prod.svc.cluster.local")).toBe("nodata");
    }
  });

  test("gives an address all the names that it has", () => {
    const shared = aSlice(["10.244.1.1"]);
    const zone = zoneOf(
      aSnapshot({
        services: [aService(), aService({ name: "api", clusterIps: [ip("10.96.1.2")] })],
        endpointSlices: [shared, { ...shared, name: "api-x", serviceName: "api" }],
      }),
    );
    expect(look(zone, "1.1.244.10.in-addr.arpa", "PTR")).toBe(
      "10-244-1-1.web.prod.svc.cluster.local, 10-244-1-1.api.prod.svc.cluster.local",
    );
    expect(look(zone, "01.1.244.10.in-addr.arpa", "PTR")).toBe("outside");
    expect(look(zone, "1.244.10.in-addr.arpa", "PTR")).toBe("outside");
  });

  test.each<[PodNames, string, string, string]>([
    ["insecure", "10.244.1.7", "10.244.9.9", "nodata"],
    ["verified", "10.244.1.7", "nxdomain", "nodata"],
    ["disabled", "nxdomain", "nxdomain", "nxdomain"],
  ])("with %s pod names: a pod %s, another address %s, pod. %s", (pods, known, unknown, tree) => {
    const pod: Pod = {
      namespace: "prod",
      name: "p",
      ips: [ip("10.244.1.7"), ip("fd00::7")],
      isHostNetwork: false,
    };
    const zone = zoneOf(aSnapshot({ namespaces: [{ name: "prod" }], pods: [pod] }), pods);
    expect(look(zone, "10-244-1-7.prod.pod.cluster.local")).toBe(known);
    expect(look(zone, "10-244-9-9.prod.pod.cluster.local")).toBe(unknown);
    expect(look(zone, "fd00--7.prod.pod.cluster.local", "AAAA")).toBe(
      known === "nxdomain" ? known : "fd00::7",
    );
    expect(look(zone, "pod.cluster.local")).toBe(tree);
    expect(look(zone, "10-244-1-7.dev.pod.cluster.local")).toBe("nxdomain");
    expect(look(zone, "x.10-244-1-7.prod.pod.cluster.local")).toBe("nxdomain");
  });
});

describe("ZoneFeed", () => {
  const web = aService();
  const api = aService({ name: "api", clusterIps: [ip("10.96.1.2")] });

  test("sends what changed, and only that", () => {
    const feed = new ZoneFeed(false);
    const start = feed.next(aSnapshot({ services: [web, api] }));
    expect(start).toMatchObject({ isComplete: true, added: [], removed: [] });
    expect(start.services).toHaveLength(2);
    // Equal objects that are not the same are no change either.
    const same = feed.next(aSnapshot({ services: [{ ...web }, api], revision: 2 }));
    const none = { services: [], added: [], removed: [] };
    expect(same).toMatchObject({ isComplete: false, revision: 2, ...none });
    const slice = aSlice(["10.244.1.1"]);
    const changed = feed.next(aSnapshot({ services: [web, api], endpointSlices: [slice] }));
    expect(changed.services.map(({ service }) => service.name)).toEqual(["web"]);
    expect(changed.added).toEqual([]);
    const gone = feed.next(aSnapshot({ services: [api] }));
    expect(gone).toMatchObject({ services: [], added: [], removed: ["prod/web"] });
    const back = feed.next(aSnapshot({ services: [web, api] }));
    expect(back).toMatchObject({ services: [{ service: web }], added: ["prod/web"] });
    feed.reset();
    expect(feed.next(aSnapshot({ services: [api] })).isComplete).toBe(true);
  });

  test("sends ready endpoints, and pods only for verified names and when they changed", () => {
    const slice = aSlice(["10.244.1.1", "10.244.1.2"]);
    const [ready, other] = slice.endpoints;
    const endpoints = [ready!, { ...other!, isReady: false }];
    const snapshot = aSnapshot({
      services: [web],
      endpointSlices: [{ ...slice, endpoints }],
      pods: [{ namespace: "prod", name: "p", ips: [ip("10.244.1.1")], isHostNetwork: false }],
    });
    const feed = new ZoneFeed(true);
    const update = feed.next(snapshot);
    expect(update.services[0]!.slices[0]!.endpoints).toEqual([{ addresses: ["10.244.1.1"] }]);
    expect(update.pods).toEqual(["prod/10.244.1.1"]);
    expect(feed.next({ ...snapshot, revision: 2 }).pods).toBeUndefined();
    expect(new ZoneFeed(false).next(snapshot).pods).toBeUndefined();
  });

  // Small worlds that overlap much: the same names and addresses come, change and go.
  const anAddress = fc.integer({ min: 1, max: 4 }).map((n) => `10.244.1.${n}`);
  const aWorld = fc
    .record({
      clusterIps: fc.uniqueArray(
        fc.record({ name: fc.constantFrom("a", "b", "c"), n: fc.integer({ min: 1, max: 3 }) }),
        { selector: ({ name }) => name, maxLength: 3 },
      ),
      headless: fc.array(
        fc.record({
          name: fc.constantFrom("a", "b", "d"),
          addresses: fc.uniqueArray(anAddress, { maxLength: 3 }),
          hostname: fc.constantFrom(undefined, "h"),
        }),
        { maxLength: 3 },
      ),
    })
    .map(({ clusterIps, headless }) =>
      aSnapshot({
        services: [
          ...clusterIps.map(({ name, n }) => aService({ name, clusterIps: [ip(`10.96.0.${n}`)] })),
          ...headless.map(({ name }) => aService({ name, isHeadless: true, clusterIps: [] })),
        ],
        endpointSlices: headless.map(({ name, addresses, hostname }, i) =>
          aSlice(addresses, { name: `s${i}`, serviceName: name, ...(hostname && { hostname }) }),
        ),
      }),
    );
  const questions = [
    ...["a", "b", "c", "d"].flatMap((name) => [
      `${name}.prod.svc.cluster.local`,
      `h.${name}.prod.svc.cluster.local`,
      `10-244-1-2.${name}.prod.svc.cluster.local`,
    ]),
    "prod.svc.cluster.local",
  ];
  const reverses = [
    ...[1, 2, 3, 4].map((n) => `${n}.1.244.10.in-addr.arpa`),
    ...[1, 2, 3].map((n) => `${n}.0.96.10.in-addr.arpa`),
  ];
  // Records of one name have no order: it follows how the services came.
  const lookSorted = (...which: Parameters<typeof look>): string =>
    look(...which)
      .split(", ")
      .toSorted()
      .join(", ");
  const everything = (zone: Zone): string[] => [
    ...questions.map((name) => lookSorted(zone, name)),
    ...reverses.map((name) => lookSorted(zone, name, "PTR")),
  ];

  test("a zone that was brought here by updates answers as one that began here", () => {
    fc.assert(
      fc.property(fc.array(aWorld, { minLength: 1, maxLength: 6 }), (worlds) => {
        const feed = new ZoneFeed(false);
        const zone = newZone();
        for (const world of worlds) zone.apply(feed.next(world));
        expect(everything(zone)).toEqual(everything(zoneOf(worlds.at(-1)!)));
      }),
      { numRuns: 300 },
    );
  });
});
