// Our one nftables table as data: what should be there, and what was read back. Statements are the
// few that fairlead uses, each one nft statement; kernel/nft encodes them, formatNftTable prints them.
import { createHash } from "node:crypto";
import {
  type Cidr,
  type Family,
  type Ip,
  cidrBase,
  cidrContains,
  cidrPrefixLength,
  compareIps,
  familyOf,
  hostCidr,
  isCidr,
} from "./address.ts";
import { assertNever } from "./assert.ts";
import type { TransportProtocol } from "./port-mapping.ts";

export type NftHook = "prerouting" | "input" | "forward" | "output" | "postrouting";

export interface NftChain {
  readonly name: string;
  /** A base chain; absent for a chain that is only jumped to. */
  readonly hook?: NftBaseChain;
  readonly rules: readonly NftRule[];
}

/** Where a base chain is hooked into the packet's way. Its policy is always accept. */
export interface NftBaseChain {
  readonly type: "filter" | "nat" | "route";
  readonly hook: NftHook;
  /** Lower runs first: raw -300, dstnat -100, filter 0, srcnat 100. */
  readonly priority: number;
}

export interface NftRule {
  readonly statements: readonly NftStatement[];
  readonly comment: string;
}

export type NftStatement =
  /** `ip saddr @set`, `ip6 daddr != @set`: matches only packets of the set's family. */
  | {
      readonly kind: "match-set";
      readonly field: "saddr" | "daddr";
      readonly family: Family;
      readonly set: string;
      readonly isInverted: boolean;
    }
  /** `ip daddr 127.0.0.0/8`, `ip6 saddr ::1`: quicker than a set. The prefix is whole octets. */
  | { readonly kind: "match-network"; readonly field: "saddr" | "daddr"; readonly network: Cidr }
  /** `ip saddr . ip daddr @map`: a map without values, which is a set of such keys. */
  | {
      readonly kind: "match-key";
      readonly family: Family;
      readonly key: readonly NftKeyField[];
      readonly map: string;
    }
  /** `fib daddr type local`: an address of this machine. */
  | { readonly kind: "match-local"; readonly field: "saddr" | "daddr" }
  /** `ct status snat`: of a connection whose source was translated; not where none is tracked. */
  | { readonly kind: "match-source-translated" }
  /** `oifname "fl-vxlan"`, `iifname != "lo"`; a `*` at the end stands for any rest: `iifname "fl*"`. */
  | {
      readonly kind: "match-interface";
      readonly field: "iifname" | "oifname";
      readonly name: string;
      readonly isInverted: boolean;
    }
  /** `iif "eth0"`: the interface that has this index now, quicker than by its name. */
  | {
      readonly kind: "match-interface-index";
      readonly field: "iif" | "oif";
      readonly index: number;
      /** As nft has it for the index. */
      readonly name: string;
    }
  /** `udp dport 4789`, `tcp sport 53`, `th dport 53`. */
  | {
      readonly kind: "match-port";
      /** Absent: whichever has ports. */
      readonly protocol?: "tcp" | "udp";
      /** Absent: the destination's. */
      readonly field?: "sport" | "dport";
      readonly port: number;
    }
  | { readonly kind: "masquerade"; readonly fullyRandom: boolean }
  /** The map's value for the packet's key, an address and a port, is where the packet goes instead. */
  | {
      readonly kind: "dnat-to-map";
      readonly family: Family;
      readonly key: readonly NftKeyField[];
      readonly map: string;
    }
  | { readonly kind: "jump"; readonly chain: string }
  | { readonly kind: "notrack" }
  | { readonly kind: "drop" }
  | { readonly kind: "return" };

/** What of a packet makes a part of a key. */
export type NftKeyField = "saddr" | "daddr" | "l4proto" | "dport";

/** A set of networks of one family (an interval set). */
export interface NftSet {
  readonly name: string;
  readonly family: Family;
  readonly elements: readonly (Ip | Cidr)[];
}

/** What a part of a key or value is, by nft's name for it. */
export type NftDataType = "ipv4_addr" | "ipv6_addr" | "inet_proto" | "inet_service";

/** An address, a transport protocol, a port: as the part's {@link NftDataType} wants it. */
export type NftDatum = Ip | TransportProtocol | number;

/** What a map's keys and values are made of. */
export interface NftMapType {
  readonly key: readonly NftDataType[];
  /** Empty: a set of keys. */
  readonly value: readonly NftDataType[];
  /**
   * Milliseconds after which the kernel takes an element out again that is not put anew. Such elements are
   * nobody's desire: they are put singly, and left out of what is compared and observed.
   */
  readonly timeoutMs?: number;
}

/** A hash map from exact keys, of which an element is added or removed without reading the others. */
export interface NftMap extends NftMapType {
  readonly name: string;
  /** Their keys differ. */
  readonly elements: readonly NftMapElement[];
}

export interface NftMapElement {
  readonly key: readonly NftDatum[];
  readonly value: readonly NftDatum[];
}

export interface NftTable {
  readonly name: string;
  readonly sets: readonly NftSet[];
  readonly maps: readonly NftMap[];
  readonly chains: readonly NftChain[];
}

/**
 * What a table can be besides itself; ours is none of it. Dormant: none of its rules is asked. Owner: only the
 * program that made it may change it, and it goes with that, unless it persists.
 */
export type NftTableFlag = "dormant" | "owner" | "persist";

/**
 * What is in the kernel under our name. Rules are recognised by the digest that each one carries in
 * its user data (see {@link nftRuleDigest}), a rule of somebody else has the digest "". Set elements
 * are as {@link normalElements} has them.
 */
export interface ObservedNftTable {
  readonly flags: readonly NftTableFlag[];
  readonly sets: ReadonlyMap<string, readonly Cidr[]>;
  /** Map name → its elements as {@link formatMapElement} has them, sorted. */
  readonly maps: ReadonlyMap<string, readonly string[]>;
  /** Chain name → its rules' digests, in order. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
  /** Only of base chains. */
  readonly hooks: ReadonlyMap<string, NftBaseChain>;
}

/** Twelve hex digits that stand for all of the rule: its statements and its comment. */
export function nftRuleDigest(rule: NftRule): string {
  // Two interfaces may have had one name, one after the other.
  const indexes = rule.statements.flatMap((statement) =>
    statement.kind === "match-interface-index" ? [` #${statement.index}`] : [],
  );
  const text = formatRule(rule) + indexes.join("");
  return createHash("sha256").update(text).digest("hex").slice(0, 12);
}

/** The set's networks in order, without those that another one contains: what the kernel holds. */
export function normalElements(elements: readonly (Ip | Cidr)[]): readonly Cidr[] {
  const sorted = elements
    .map(asCidr)
    .sort(
      (a, b) => compareIps(cidrBase(a), cidrBase(b)) || cidrPrefixLength(a) - cidrPrefixLength(b),
    );
  // A container sorts before what it contains, and networks never overlap in part.
  const kept: Cidr[] = [];
  for (const cidr of sorted) {
    const last = kept.at(-1);
    if (last === undefined || !cidrContains(last, cidr)) kept.push(cidr);
  }
  return kept;
}

/**
 * The first table with what the other has besides. Names of sets and maps differ; a chain that both have gets
 * the rules of the first, then of the other, and comes after what either jumps to.
 */
export function joinTables(table: NftTable, other: NftTable): NftTable {
  const find = ({ chains }: NftTable, name: string): NftChain | undefined =>
    chains.find((chain) => chain.name === name);
  return {
    name: table.name,
    sets: [...table.sets, ...other.sets],
    maps: [...table.maps, ...other.maps],
    chains: [
      ...table.chains.filter(({ name }) => find(other, name) === undefined),
      ...other.chains.map((chain) => ({
        ...chain,
        rules: [...(find(table, chain.name)?.rules ?? []), ...chain.rules],
      })),
    ],
  };
}

/** A map's elements as text, in an order that does not depend on where the kernel has them. */
export const normalMapElements = (elements: readonly NftMapElement[]): readonly string[] =>
  elements.map(formatMapElement).sort();

/** `tcp . 8080 : 10.244.1.7 . 80`. */
export const formatMapElement = ({ key, value }: NftMapElement): string =>
  [key, value].flatMap((data) => (data.length === 0 ? [] : [data.join(" . ")])).join(" : ");

/** The table as `observeNft` would give it once it is applied. */
export const asObserved = (table: NftTable): ObservedNftTable => ({
  flags: [],
  sets: new Map(table.sets.map((set) => [set.name, normalElements(set.elements)])),
  maps: new Map(
    table.maps.map(({ name, elements, timeoutMs }) => [
      name,
      timeoutMs === undefined ? normalMapElements(elements) : [],
    ]),
  ),
  chains: new Map(table.chains.map((chain) => [chain.name, chain.rules.map(nftRuleDigest)])),
  hooks: new Map(
    table.chains.flatMap(({ name, hook }) => (hook === undefined ? [] : [[name, hook] as const])),
  ),
});

/**
 * The table as `nft list table` prints it, but for its line breaks within long sets and the order of a
 * map's elements.
 */
export function formatNftTable(table: NftTable): string {
  const blocks = [
    ...table.sets.map(formatSet),
    ...table.maps.map(formatMap),
    ...table.chains.map(formatChain),
  ];
  return `table inet ${table.name} {\n${blocks.join("\n")}}\n`;
}

function formatSet(set: NftSet): string {
  const elements = normalElements(set.elements).map(formatNetwork);
  return block(`set ${set.name}`, [
    `type ipv${set.family}_addr`,
    "flags interval",
    ...(elements.length === 0 ? [] : [`elements = { ${elements.join(", ")} }`]),
  ]);
}

const formatNetwork = (cidr: Cidr): string =>
  cidr === hostCidr(cidrBase(cidr)) ? cidrBase(cidr) : cidr;

function formatMap({ name, key, value, elements, timeoutMs }: NftMap): string {
  const type = [key, value].flatMap((types) => (types.length === 0 ? [] : [types.join(" . ")]));
  const lines = timeoutMs === undefined ? normalMapElements(elements) : [];
  return block(`${value.length === 0 ? "set" : "map"} ${name}`, [
    `type ${type.join(" : ")}`,
    ...(timeoutMs === undefined ? [] : [`timeout ${formatTimeout(timeoutMs)}`]),
    ...(lines.length === 0 ? [] : [`elements = { ${lines.join(", ")} }`]),
  ]);
}

/** As nft does below a minute: `3s`, `2s500ms`. */
function formatTimeout(ms: number): string {
  const [seconds, rest] = [Math.floor(ms / 1000), ms % 1000];
  return `${seconds > 0 ? `${seconds}s` : ""}${rest > 0 ? `${rest}ms` : ""}`;
}

const formatChain = ({ name, hook, rules }: NftChain): string =>
  block(`chain ${name}`, [
    ...(hook === undefined
      ? []
      : [`type ${hook.type} hook ${hook.hook} priority ${formatPriority(hook)}; policy accept;`]),
    ...rules.map(formatRule),
  ]);

const block = (head: string, lines: readonly string[]): string =>
  [`\t${head} {`, ...lines.map((line) => `\t\t${line}`), "\t}", ""].join("\n");

const formatRule = ({ statements, comment }: NftRule): string =>
  [...statements.map(formatStatement), ...(comment === "" ? [] : [`comment "${comment}"`])].join(
    " ",
  );

function formatStatement(statement: NftStatement): string {
  switch (statement.kind) {
    case "match-set": {
      const { family, field, set, isInverted } = statement;
      return `${formatKey(family, [field])} ${not(isInverted)}@${set}`;
    }
    case "match-network":
      return `${formatKey(familyOf(statement.network), [statement.field])} ${formatNetwork(statement.network)}`;
    case "match-key":
      return `${formatKey(statement.family, statement.key)} @${statement.map}`;
    case "match-local":
      return `fib ${statement.field} type local`;
    case "match-source-translated":
      return "ct status snat";
    case "match-interface":
      return `${statement.field} ${not(statement.isInverted)}"${statement.name}"`;
    case "match-interface-index":
      return `${statement.field} "${statement.name}"`;
    case "match-port":
      return `${statement.protocol ?? "th"} ${statement.field ?? "dport"} ${statement.port}`;
    case "masquerade":
      return statement.fullyRandom ? "masquerade fully-random" : "masquerade";
    case "dnat-to-map": {
      const { family, key, map } = statement;
      // nft names the family where nothing else does.
      const match = key.some(isAddressField) ? "" : `meta nfproto ipv${family} `;
      return `${match}dnat ${networkOf(family)} to ${formatKey(family, key)} map @${map}`;
    }
    case "jump":
      return `jump ${statement.chain}`;
    case "notrack":
    case "drop":
    case "return":
      return statement.kind;
    default:
      return assertNever(statement);
  }
}

const networkOf = (family: Family): string => (family === 4 ? "ip" : "ip6");
const isAddressField = (field: NftKeyField): boolean => field === "saddr" || field === "daddr";

const formatKey = (family: Family, key: readonly NftKeyField[]): string =>
  key
    .map((field) => {
      if (field === "l4proto") return "meta l4proto";
      return field === "dport" ? "th dport" : `${networkOf(family)} ${field}`;
    })
    .join(" . ");

const not = (isInverted: boolean): string => (isInverted ? "!= " : "");

// nft names the well-known priorities, and those near one by their distance: src/rule.c, prio2str.
// dstnat and srcnat are known only at the hook where each makes sense.
const nearPriority = 10;

function formatPriority({ hook, priority }: NftBaseChain): string {
  const known: readonly (readonly [string, number])[] = [
    ["raw", -300],
    ["mangle", -150],
    ["filter", 0],
    ["security", 50],
    ...(hook === "prerouting" ? [["dstnat", -100] as const] : []),
    ...(hook === "postrouting" ? [["srcnat", 100] as const] : []),
  ];
  for (const [name, value] of known) {
    const distance = priority - value;
    if (distance === 0) return name;
    if (Math.abs(distance) <= nearPriority) {
      return `${name} ${distance < 0 ? "-" : "+"} ${Math.abs(distance)}`;
    }
  }
  return String(priority);
}

const asCidr = (element: Ip | Cidr): Cidr => (isCidr(element) ? element : hostCidr(element));
