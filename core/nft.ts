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
  hostCidr,
  isCidr,
} from "./address.ts";
import { assertNever } from "./assert.ts";

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
  /** `oifname "fl-vxlan"`, `iifname != "lo"`. */
  | {
      readonly kind: "match-interface";
      readonly field: "iifname" | "oifname";
      readonly name: string;
      readonly isInverted: boolean;
    }
  /** `udp dport 4789`. */
  | { readonly kind: "match-port"; readonly protocol: "tcp" | "udp"; readonly port: number }
  | { readonly kind: "masquerade"; readonly fullyRandom: boolean }
  | { readonly kind: "notrack" }
  | { readonly kind: "accept" }
  | { readonly kind: "return" };

/** A set of networks of one family (an interval set). */
export interface NftSet {
  readonly name: string;
  readonly family: Family;
  readonly elements: readonly (Ip | Cidr)[];
}

export interface NftTable {
  readonly name: string;
  readonly sets: readonly NftSet[];
  readonly chains: readonly NftChain[];
}

/**
 * What is in the kernel under our name. Rules are recognised by the digest that each one carries in
 * its user data (see {@link nftRuleDigest}), a rule of somebody else has the digest "". Set elements
 * are as {@link normalElements} has them.
 */
export interface ObservedNftTable {
  readonly sets: ReadonlyMap<string, readonly Cidr[]>;
  /** Chain name → its rules' digests, in order. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
  /** Only of base chains. */
  readonly hooks: ReadonlyMap<string, NftBaseChain>;
}

/** Twelve hex digits that stand for all of the rule: its statements and its comment. */
export const nftRuleDigest = (rule: NftRule): string =>
  createHash("sha256").update(formatRule(rule)).digest("hex").slice(0, 12);

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

/** The table as `observeNft` would give it once it is applied. */
export const asObserved = (table: NftTable): ObservedNftTable => ({
  sets: new Map(table.sets.map((set) => [set.name, normalElements(set.elements)])),
  chains: new Map(table.chains.map((chain) => [chain.name, chain.rules.map(nftRuleDigest)])),
  hooks: new Map(
    table.chains.flatMap(({ name, hook }) => (hook === undefined ? [] : [[name, hook] as const])),
  ),
});

/** The table as `nft list table` prints it, but for its line breaks within long sets. */
export function formatNftTable(table: NftTable): string {
  const blocks = [...table.sets.map(formatSet), ...table.chains.map(formatChain)];
  return `table inet ${table.name} {\n${blocks.join("\n")}}\n`;
}

function formatSet(set: NftSet): string {
  const elements = normalElements(set.elements).map((cidr) =>
    cidr === hostCidr(cidrBase(cidr)) ? cidrBase(cidr) : cidr,
  );
  return block(`set ${set.name}`, [
    `type ipv${set.family}_addr`,
    "flags interval",
    ...(elements.length === 0 ? [] : [`elements = { ${elements.join(", ")} }`]),
  ]);
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
      const network = statement.family === 4 ? "ip" : "ip6";
      return `${network} ${statement.field} ${not(statement.isInverted)}@${statement.set}`;
    }
    case "match-interface":
      return `${statement.field} ${not(statement.isInverted)}"${statement.name}"`;
    case "match-port":
      return `${statement.protocol} dport ${statement.port}`;
    case "masquerade":
      return statement.fullyRandom ? "masquerade fully-random" : "masquerade";
    case "notrack":
    case "accept":
    case "return":
      return statement.kind;
    default:
      return assertNever(statement);
  }
}

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
