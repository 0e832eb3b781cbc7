// What somebody may do to a node's objects, as the commands that do it: each alters one that is there, in a way
// that the daemon is to undo.
import { familyOf } from "../../core/address.ts";
import { vxlanDevice } from "../../core/names.ts";
import type { FdbEntry, Neighbor, Route } from "../../core/network.ts";
import type { Kernel } from "../../kernel/kernel.ts";

type Named<T> = readonly (readonly [string, (item: T) => string])[];

const device = vxlanDevice;
const away = "172.30.2.99";
const otherMac = "02:00:00:00:00:99";

const entryOf = ({ mac, destination }: FdbEntry): string =>
  `${mac} dev ${device} dst ${destination}`;
const fdb = (verb: string, entry: string): string => `bridge fdb ${verb} ${entry}`;

export const ofEntries: Named<FdbEntry> = [
  ["an entry is removed", (entry) => fdb("del", entryOf(entry))],
  ["an entry leads elsewhere", ({ mac }) => fdb("replace", `${mac} dev ${device} dst ${away}`)],
  [
    "another MAC leads there too",
    ({ destination }) => fdb("add", `${otherMac} dev ${device} dst ${destination}`),
  ],
  [
    "what no entry is for leads to two",
    ({ destination }) =>
      [destination, away]
        .map((end) => fdb("append", `00:00:00:00:00:00 dev ${device} dst ${end}`))
        .join("; "),
  ],
  [
    "multicast leads there",
    ({ destination }) => fdb("append", `01:00:5e:00:00:01 dev ${device} dst ${destination}`),
  ],
  ["an entry may age", (entry) => fdb("replace", `${entryOf(entry)} dynamic`)],
  ["an entry is static", (entry) => fdb("replace", `${entryOf(entry)} static`)],
  ["an entry leads to another port", (entry) => fdb("replace", `${entryOf(entry)} port 9999`)],
  ["an entry leads to another VNI", (entry) => fdb("replace", `${entryOf(entry)} vni 77`)],
  ["an entry leads there by one way", (entry) => fdb("replace", `${entryOf(entry)} via eth0`)],
];

const neighborOf = ({ address, mac }: Neighbor): string => `${address} lladdr ${mac} dev ${device}`;
const withOtherMac = ({ address }: Neighbor): string =>
  `${address} lladdr ${otherMac} dev ${device}`;
const neighbor = (verb: string, words: string): string => `ip neighbor ${verb} ${words}`;

export const ofNeighbors: Named<Neighbor> = [
  ["a neighbor is removed", ({ address }) => neighbor("del", `${address} dev ${device}`)],
  ["a neighbor has another MAC", (one) => neighbor("replace", withOtherMac(one))],
  ["a neighbor needs no ARP", (one) => neighbor("replace", `${neighborOf(one)} nud noarp`)],
  [
    "a neighbor has another MAC without ARP",
    (one) => neighbor("replace", `${withOtherMac(one)} nud noarp`),
  ],
  [
    "a neighbor has another MAC without ARP, and is removed",
    (one) =>
      `${neighbor("replace", `${withOtherMac(one)} nud noarp`)}; ${neighbor("del", `${one.address} dev ${device}`)}`,
  ],
  [
    "a neighbor is learned elsewhere",
    (one) => neighbor("replace", `${neighborOf(one)} nud reachable extern_learn`),
  ],
  ["a neighbor is stale", (one) => neighbor("replace", `${neighborOf(one)} nud stale`)],
  [
    "a neighbor has failed",
    ({ address }) => neighbor("change", `${address} dev ${device} nud failed`),
  ],
  [
    "another neighbor is there",
    ({ address, mac }) => {
      const other = familyOf(address) === 4 ? "10.244.250.250" : "fd00:10:244:fa::fa";
      return neighbor("add", `${other} lladdr ${mac} dev ${device}`);
    },
  ],
];

const ipRoute = ({ destination }: Route, verb: string, words: string): string =>
  `ip -${familyOf(destination)} route ${verb} ${words}`;
const placeOf = ({ metric, table }: Route): string =>
  `table ${table}${metric === 0 ? "" : ` metric ${metric}`}`;
const keyOf = (route: Route): string => `${route.destination} ${placeOf(route)}`;
/** As it is. */
const wholeOf = (route: Route): string => {
  const { device, gateway, onlink, source } = route;
  const via = gateway === undefined ? "" : `via ${gateway}`;
  const from = source === undefined ? "" : `src ${source}`;
  return `${keyOf(route)} ${via} dev ${device} ${onlink === true ? "onlink" : ""} ${from} proto 76`;
};
const hop = ({ destination }: Route, last = 98): string =>
  `via ${familyOf(destination) === 4 ? `172.30.1.${last}` : `2001:db8:1::${last}`} dev eth0`;

export const ofRoutes: Named<Route> = [
  ["a route is removed", (route) => ipRoute(route, "del", keyOf(route))],
  [
    "a route is another's",
    (route) => ipRoute(route, "replace", `${keyOf(route)} ${hop(route)} proto static`),
  ],
  [
    "a route is another's, who removes it",
    (route) =>
      `${ipRoute(route, "replace", `${keyOf(route)} ${hop(route)} proto static`)}; ${ipRoute(route, "del", keyOf(route))}`,
  ],
  [
    "a second route stands behind",
    (route) => ipRoute(route, "append", `${keyOf(route)} ${hop(route)} proto 76`),
  ],
  [
    "a second route stands in front",
    (route) => ipRoute(route, "prepend", `${keyOf(route)} ${hop(route)} proto 76`),
  ],
  [
    "a second route stands behind, and the first one is removed",
    (route) =>
      `${ipRoute(route, "append", `${keyOf(route)} ${hop(route)} proto 76`)}; ${ipRoute(route, "del", `${keyOf(route)} dev ${route.device}`)}`,
  ],
  [
    "a route has two next hops",
    (route) =>
      ipRoute(
        route,
        "replace",
        `${keyOf(route)} proto 76 nexthop ${hop(route)} nexthop ${hop(route, 97)}`,
      ),
  ],
  [
    "a second route of two next hops stands behind",
    (route) =>
      ipRoute(
        route,
        "append",
        `${keyOf(route)} proto 76 nexthop ${hop(route)} nexthop ${hop(route, 97)}`,
      ),
  ],
  [
    "two others stand in its place",
    (route) =>
      `${ipRoute(route, "append", `${keyOf(route)} ${hop(route)} proto 76`)}; ${ipRoute(route, "replace", `blackhole ${keyOf(route)} proto 76`)}`,
  ],
  [
    "a route has another metric besides",
    (route) => ipRoute(route, "add", `${route.destination} ${hop(route)} proto 76 metric 77`),
  ],
  [
    "a route is for some packets besides",
    (route) => {
      const some = familyOf(route.destination) === 4 ? "tos 0x10" : "from fd00:10:244:1::/64";
      return ipRoute(route, "add", `${route.destination} ${some} ${hop(route)} proto 76 metric 4`);
    },
  ],
  [
    "a route to nowhere is for some packets besides",
    (route) => {
      const some = familyOf(route.destination) === 4 ? "tos 0x10" : "from fd00:10:244:1::/64";
      return ipRoute(route, "add", `blackhole ${keyOf(route)} ${some} proto 76`);
    },
  ],
  [
    "a route is in another table besides",
    (route) => ipRoute(route, "add", `${route.destination} ${hop(route)} proto 76 table 99`),
  ],
  [
    "two next hops lead elsewhere",
    (route) =>
      ipRoute(
        route,
        "add",
        `${route.destination} proto 76 metric 77 nexthop ${hop(route)} nexthop ${hop(route, 97)}`,
      ),
  ],
  ["a route has an MTU", (route) => ipRoute(route, "replace", `${wholeOf(route)} mtu lock 1300`)],
  [
    "a route has a segment size",
    (route) => ipRoute(route, "replace", `${wholeOf(route)} advmss 500`),
  ],
  [
    "a route has a nexthop object",
    (route) => {
      const id = 70 + familyOf(route.destination);
      return `ip nexthop replace id ${id} ${hop(route)}; ${ipRoute(route, "replace", `${keyOf(route)} nhid ${id} proto 76`)}`;
    },
  ],
  [
    "a route has a nexthop object that discards",
    (route) => {
      const id = 80 + familyOf(route.destination);
      return `ip -${familyOf(route.destination)} nexthop replace id ${id} blackhole; ${ipRoute(route, "replace", `${keyOf(route)} nhid ${id} proto 76`)}`;
    },
  ],
  [
    "a route that discards by a nexthop object is there besides",
    (route) => {
      const id = 90 + familyOf(route.destination);
      return `ip -${familyOf(route.destination)} nexthop replace id ${id} blackhole; ${ipRoute(route, "add", `${route.destination} metric 7 nhid ${id} proto 76`)}`;
    },
  ],
  [
    "a route of another scope is there besides",
    (route) =>
      ipRoute(route, "add", `${route.destination} ${hop(route)} proto 76 metric 2 scope 17`),
  ],
  ...["broadcast", "anycast", "multicast"].map(
    (type) =>
      [
        `a route of type ${type} is there besides`,
        (route: Route) =>
          ipRoute(route, "add", `${type} ${route.destination} dev eth0 proto 76 table local`),
      ] as const,
  ),
  ...["prohibit", "throw", "blackhole"].map(
    (type) =>
      [
        `a route is one of type ${type}`,
        (route: Route) => ipRoute(route, "replace", `${type} ${keyOf(route)} proto 76`),
      ] as const,
  ),
];

/** What may go while nobody looks. */
interface OnDevice {
  readonly entry: FdbEntry | undefined;
  readonly neighbor: Neighbor | undefined;
}

const link = (words: string): string => `ip link set ${words}`;
const renamed = (meanwhile: string): string =>
  `${link(`${device} name away`)}; ${meanwhile}; ${link(`away name ${device}`)}`;
const noIpv6 = `net.ipv6.conf.${device}.disable_ipv6`;

export const ofDevices: Named<OnDevice> = [
  ["the device goes down", () => link(`${device} down`)],
  ["the device goes down and up", () => `${link(`${device} down`)}; ${link(`${device} up`)}`],
  ["the device is removed", () => `ip link del ${device}`],
  ["the device has another name", () => link(`${device} name away`)],
  ["the device has another name for a moment", () => renamed("true")],
  [
    "the device has another name while an entry goes",
    ({ entry }) => renamed(entry === undefined ? "true" : `bridge fdb del ${entry.mac} dev away`),
  ],
  [
    "the device has another name while a neighbor goes",
    ({ neighbor: one }) =>
      renamed(one === undefined ? "true" : `ip neighbor del ${one.address} dev away`),
  ],
  ["the device has another MAC", () => link(`${device} address 02:00:00:00:00:98`)],
  ["the device has another MTU", () => link(`${device} mtu 1400`)],
  ["the device is too narrow for IPv6", () => link(`${device} mtu 1200`)],
  [
    "the device is too narrow for IPv6 for a moment",
    () => `${link(`${device} mtu 1200`)}; ${link(`${device} mtu 1450`)}`,
  ],
  ["the device has no address", () => `ip address flush dev ${device}`],
  ["the device has another address", () => `ip address add 192.0.2.1/32 dev ${device}`],
  ["the device has another IPv6 address", () => `ip address add 2001:db8:9::1/64 dev ${device}`],
  ["the device has no IPv6", () => `sysctl -qw ${noIpv6}=1`],
  ["the device has no IPv6 for a moment", () => `sysctl -qw ${noIpv6}=1 ${noIpv6}=0`],
  ["the device is dormant", () => link(`${device} mode dormant state dormant`)],
  [
    "an address of the device expires",
    () => `ip address change 10.244.1.0/32 dev ${device} valid_lft 1 preferred_lft 1`,
  ],
  [
    "an IPv6 address of the device expires",
    () => `ip address change fd00:10:244:1::/128 dev ${device} valid_lft 1 preferred_lft 1`,
  ],
  ["the device's protocol is down", () => link(`${device} protodown on`)],
  [
    "the device's protocol is down for a reason",
    () => link(`${device} protodown on protodown_reason 3 on`),
  ],
  ["the device has another alias", () => link(`${device} alias other`)],
  [
    "the device has another alias and MAC",
    () => link(`${device} alias other address 02:00:00:00:00:98`),
  ],
  [
    "the device has another alias and name",
    () => `${link(`${device} alias other`)}; ${link(`${device} name away`)}`,
  ],
  [
    "the device forgets neighbors",
    () => `${link(`${device} arp off`)}; ${link(`${device} arp on`)}`,
  ],
  [
    "the underlay has another name for a moment",
    () => `${link("eth0 name under")}; ${link("under name eth0")}`,
  ],
];

/** One of all that somebody may do, to one of what is there. */
export interface Alteration {
  readonly what: number;
  readonly which: number;
}

/** Its command. */
export function commandFor(kernel: Kernel, { what, which }: Alteration): string {
  const pick = <T>(items: readonly T[]): T | undefined => items[which % Math.max(1, items.length)];
  const route = pick(kernel.routes({ protocol: 76 }));
  const one = pick(kernel.neighbors(device));
  const entry = pick(kernel.fdb(device));
  const of = <T>(all: Named<T>, item: T | undefined): (() => string)[] =>
    all.map(
      ([, words]) =>
        () =>
          item === undefined ? "true" : words(item),
    );
  const all = [
    ...of(ofEntries, entry),
    ...of(ofNeighbors, one),
    ...of(ofRoutes, route),
    ...of(ofDevices, { entry, neighbor: one }),
  ];
  return all[what % all.length]?.() ?? "true";
}
