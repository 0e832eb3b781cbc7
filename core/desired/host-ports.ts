// hostPorts as elements of maps in our nftables table. A packet to a port of the node is looked up once,
// however many hostPorts there are:
//
//   prerouting, output: to an address of the node → hostports: one address, then all of them → dnat
//   postrouting: what comes back to the pod that sent it, or from 127.0.0.1 or ::1 → masquerade
//   prerouting, input: no packet from a pod reaches 127.0.0.0/8, which route_localnet would let in
import { type Cidr, type Family, type Ip, familyOf, parseCidr } from "../address.ts";
import { invariant } from "../assert.ts";
import { interfacePrefix, nftTableName } from "../names.ts";
import {
  type NftChain,
  type NftDatum,
  type NftKeyField,
  type NftMap,
  type NftMapElement,
  type NftMapType,
  type NftRule,
  type NftStatement,
  type NftTable,
  formatMapElement,
} from "../nft.ts";
import { type PortMapping, isOfFamily, oneAddressOf } from "../port-mapping.ts";

const families: readonly Family[] = [4, 6];

/** An attachment's hostPorts and where they lead. */
export interface HostPortHolder {
  /** The pod's; the first of each family counts. */
  readonly addresses: readonly Ip[];
  readonly portMappings: readonly PortMapping[];
}

/**
 * Sets, empty maps and chains: all that hostPorts need but the ports. `notNode`: addresses that are
 * local to every node without being the node's, those that DNS is answered at. A hostPort 53 must not
 * take the cluster's queries.
 */
export const hostPortTable = (notNode: readonly Ip[]): NftTable => ({
  name: nftTableName,
  sets: families.map((family) => ({
    name: notNodeSet(family),
    family,
    elements: notNode.filter((address) => familyOf(address) === family),
  })),
  maps: families.flatMap((family) => [
    emptyMap(oneAddressMap(family), addressMapType(family)),
    emptyMap(allAddressesMap(family), mapType(family)),
    emptyMap(hairpinSet(family), hairpinType(family)),
  ]),
  chains: [lookupChain, ...hookChains],
});

/** The table with the elements of these attachments, of which the first wins a port that two claim. */
export function withHostPorts(table: NftTable, holders: readonly HostPortHolder[]): NftTable {
  const added = new Map<string, Map<string, NftMapElement>>();
  for (const { name, elements } of holders.flatMap(hostPortElements)) {
    const ofMap = added.get(name) ?? new Map<string, NftMapElement>();
    added.set(name, ofMap);
    for (const element of elements) {
      const key = element.key.join(" ");
      if (!ofMap.has(key)) ofMap.set(key, element);
    }
  }
  const maps = table.maps.map((map) => {
    const elements = added.get(map.name);
    return elements === undefined ? map : { ...map, elements: [...elements.values()] };
  });
  return { ...table, maps };
}

/** The maps' elements that are this attachment's; nothing of a family that it has no address of. */
export function hostPortElements({ addresses, portMappings }: HostPortHolder): readonly NftMap[] {
  return families.flatMap((family) => {
    const pod = addresses.find((address) => familyOf(address) === family);
    const mappings = portMappings.filter((mapping) => isOfFamily(mapping, family));
    if (pod === undefined || mappings.length === 0) return [];
    const of = (isWanted: (mapping: PortMapping) => boolean): readonly NftMapElement[] =>
      distinct(mappings.filter(isWanted).map((mapping) => elementOf(mapping, pod)));
    const maps = [
      {
        ...emptyMap(oneAddressMap(family), addressMapType(family)),
        elements: of((mapping) => oneAddressOf(mapping) !== undefined),
      },
      {
        ...emptyMap(allAddressesMap(family), mapType(family)),
        elements: of((mapping) => oneAddressOf(mapping) === undefined),
      },
      {
        ...emptyMap(hairpinSet(family), hairpinType(family)),
        elements: [{ key: [pod, pod], value: [] }],
      },
    ];
    return maps.filter(({ elements }) => elements.length > 0);
  });
}

/** The part of the table that puts these elements in place, whatever of the table is there. */
export const hostPortPart = (notNode: readonly Ip[], holder: HostPortHolder): NftTable =>
  withHostPorts(hostPortTable(notNode), [holder]);

/**
 * A port that both attachments claim, as in `8080/tcp` or `53/udp at 192.0.2.1`; undefined where they
 * can live side by side. One address and all of them are two claims, of which the first goes first.
 */
export function sharedHostPort(one: HostPortHolder, other: HostPortHolder): string | undefined {
  const taken = new Set(claimsOf(other).map(({ id }) => id));
  return claimsOf(one).find(({ id }) => taken.has(id))?.port;
}

const claimsOf = (holder: HostPortHolder) =>
  hostPortElements(holder)
    .filter(({ value }) => value.length > 0)
    .flatMap(({ name, elements }) =>
      elements.map(({ key }) => ({ id: `${name} ${key.join(" ")}`, port: formatPort(key) })),
    );

function formatPort(key: readonly NftDatum[]): string {
  const [port, protocol, address] = key.toReversed();
  return `${port}/${protocol}${address === undefined ? "" : ` at ${address}`}`;
}

function elementOf(mapping: PortMapping, pod: Ip): NftMapElement {
  const { protocol, hostPort, containerPort } = mapping;
  const address = oneAddressOf(mapping);
  return {
    key: [...(address === undefined ? [] : [address]), protocol, hostPort],
    value: [pod, containerPort],
  };
}

const distinct = (elements: readonly NftMapElement[]): readonly NftMapElement[] => [
  ...new Map(elements.map((element) => [formatMapElement(element), element])).values(),
];

const allAddressesMap = (family: Family): string => `hostports${family}`;
const oneAddressMap = (family: Family): string => `hostports${family}-at`;
const hairpinSet = (family: Family): string => `hairpin${family}`;
const notNodeSet = (family: Family): string => `not-node${family}`;
const addressType = (family: Family): "ipv4_addr" | "ipv6_addr" => `ipv${family}_addr`;

const emptyMap = (name: string, type: NftMapType): NftMap => ({ name, ...type, elements: [] });
const mapType = (family: Family): NftMapType => ({
  key: ["inet_proto", "inet_service"],
  value: [addressType(family), "inet_service"],
});
const addressMapType = (family: Family): NftMapType => ({
  key: [addressType(family), "inet_proto", "inet_service"],
  value: [addressType(family), "inet_service"],
});
const hairpinType = (family: Family): NftMapType => ({
  key: [addressType(family), addressType(family)],
  value: [],
});

function loopbackOf(family: Family): Cidr {
  const network = parseCidr(family === 4 ? "127.0.0.0/8" : "::1/128");
  invariant(network !== undefined, "the loopback network is one");
  return network;
}

/** Every pod's host interface. */
const podInterfaces = `${interfacePrefix}*`;
const lookupChainName = "hostports";

const lookUp = (family: Family, map: string, key: readonly NftKeyField[]): NftRule => ({
  statements: [{ kind: "dnat-to-map", family, key, map }],
  comment: "",
});

const lookupChain: NftChain = {
  name: lookupChainName,
  rules: families.flatMap((family) => [
    {
      statements: [
        {
          kind: "match-set",
          field: "daddr",
          family,
          set: notNodeSet(family),
          isInverted: false,
        } as const,
        { kind: "return" } as const,
      ],
      comment: "an address of the cluster, not of the node",
    },
    lookUp(family, oneAddressMap(family), ["daddr", "l4proto", "dport"]),
    lookUp(family, allAddressesMap(family), ["l4proto", "dport"]),
  ]),
};

const toLookup: NftRule = {
  statements: [
    { kind: "match-local", field: "daddr" },
    { kind: "jump", chain: lookupChainName },
  ],
  comment: "to the node's addresses",
};

// The address first: what comes to the node has seldom this one, and an interface's name takes longer.
const fromPodToLoopback: readonly NftStatement[] = [
  { kind: "match-network", field: "daddr", network: loopbackOf(4) },
  { kind: "match-interface", field: "iifname", name: podInterfaces, isInverted: false },
];

const noLoopback: NftRule = {
  statements: [...fromPodToLoopback, { kind: "drop" }],
  comment: "no pod reaches the node's loopback addresses",
};

const hookChains: readonly NftChain[] = [
  {
    name: "hostports-in",
    hook: { type: "nat", hook: "prerouting", priority: -100 },
    rules: [noLoopback, toLookup],
  },
  {
    name: "hostports-out",
    hook: { type: "nat", hook: "output", priority: -100 },
    rules: [toLookup],
  },
  {
    name: "hostports-back",
    hook: { type: "nat", hook: "postrouting", priority: 100 },
    rules: families.flatMap((family): readonly NftRule[] => [
      {
        statements: [
          { kind: "match-key", family, key: ["saddr", "daddr"], map: hairpinSet(family) },
          { kind: "masquerade", fullyRandom: false },
        ],
        comment: "a pod to itself through the node",
      },
      {
        statements: [
          { kind: "match-interface", field: "oifname", name: podInterfaces, isInverted: false },
          { kind: "match-network", field: "saddr", network: loopbackOf(family) },
          { kind: "masquerade", fullyRandom: false },
        ],
        comment: "the node to a pod from its loopback address",
      },
    ]),
  },
  {
    // Only what is delivered here comes by: a packet between pods, which are most, pays nothing for it.
    // Whatever its state, for what conntrack cannot make out passes the chain above.
    name: "hostports-guard",
    hook: { type: "filter", hook: "input", priority: 0 },
    rules: [
      {
        statements: [...fromPodToLoopback, { kind: "match-source-translated" }, { kind: "return" }],
        comment: "answers to what the node sent from its loopback addresses",
      },
      noLoopback,
    ],
  },
];
