// nf_tables objects as nfnetlink messages, both ways: <linux/netfilter/nf_tables.h>.
import type { Family } from "../core/address.ts";
import { invariant } from "../core/assert.ts";
import {
  type NftBaseChain,
  type NftChain,
  type NftDataType,
  type NftHook,
  type NftMapType,
  type NftRule,
  type NftTableFlag,
  nftRuleDigest,
} from "../core/nft.ts";
import type { MessageBatch } from "./message.ts";
import type { Attributes, Message } from "./received.ts";
import { writeStatements } from "./nft-expression.ts";
import { lengthOf, typeNumberOf, typesFrom } from "./nft-map.ts";

const subsystem = 10;
/** NFPROTO_INET: one table for both families. */
const inetFamily = 1;
const batchBegin = 16;
const batchEnd = 17;
const batchGeneration = 1;
/** struct nfgenmsg: family, version, resource. */
const nfgenLength = 4;
const create = 0x400;
const append = 0x800;

const command = {
  newTable: 0,
  getTable: 1,
  delTable: 2,
  newChain: 3,
  getChain: 4,
  delChain: 5,
  newRule: 6,
  getRule: 7,
  delRule: 8,
  newSet: 9,
  getSet: 10,
  delSet: 11,
  newElements: 12,
  getElements: 13,
  delElements: 14,
  newGeneration: 15,
  getGeneration: 16,
} as const;
/** Of every kind of object: the name of its table, and of a table its own. */
const tableAttribute = 1;
const tableFlagsAttribute = 2;
const chain = { table: 1, name: 3, hook: 4, policy: 5, type: 7 } as const;
const hookAttribute = { number: 1, priority: 2 } as const;
const rule = { table: 1, chain: 2, expressions: 4, userData: 7 } as const;
const set = {
  table: 1,
  name: 2,
  flags: 3,
  keyType: 4,
  keyLength: 5,
  dataType: 6,
  dataLength: 7,
  id: 10,
  timeout: 11,
} as const;
const elements = { table: 1, set: 2, list: 3 } as const;
const element = { key: 1, data: 2, flags: 3 } as const;
const listElement = 1;
const dataValue = 1;

const tableFlags = { dormant: 1, owner: 2, persist: 4 } as const;
const setFlagInterval = 4;
const setFlagMap = 8;
const setFlagTimeout = 16;
const elementFlagEnd = 1;
const policyAccept = 1;
const hooks: readonly NftHook[] = ["prerouting", "input", "forward", "output", "postrouting"];

// User data of a rule is a list of (type, length, value), one octet each but the value. Type 0 is
// nft's comment; nft passes over types that it does not know.
const userDataComment = 0;
const userDataDigest = 76;
/** What nft takes as a comment. The kernel has room for 256 octets of user data in all. */
const longestComment = 128;

// A nested attribute has at most 65,535 octets; an element of an IPv6 map has up to 64.
const elementsPerMessage = 1000;

/** A transaction that fails as a whole (ERESTART) if the ruleset is not of this generation any more. */
export function writeBegin(batch: MessageBatch, generation: number | undefined): void {
  batch.message(batchBegin, 0, () => {
    batch.u8(0).u8(0).u16be(subsystem);
    if (generation !== undefined) batch.attributeU32be(batchGeneration, generation);
  });
}

export const writeEnd = (batch: MessageBatch): void =>
  batch.message(batchEnd, 0, () => batch.u8(0).u8(0).u16be(subsystem));

const write = (batch: MessageBatch, kind: number, flags: number, body: () => void): void =>
  batch.message((subsystem << 8) | kind, flags, () => {
    batch.u8(inetFamily).u8(0).u16be(0);
    body();
  });

const writeNamed = (batch: MessageBatch, kind: number, ...names: readonly string[]): void =>
  write(batch, kind, kind === command.newTable ? create : 0, () => {
    for (const [i, name] of names.entries()) batch.attributeText(i + 1, name);
  });

export const writeNewTable = (batch: MessageBatch, table: string): void =>
  writeNamed(batch, command.newTable, table);
/** Of a table that is there; dormant is all that the kernel takes from one. */
export const writeClearTableFlags = (batch: MessageBatch, table: string): void =>
  write(batch, command.newTable, 0, () =>
    batch.attributeText(tableAttribute, table).attributeU32be(tableFlagsAttribute, 0),
  );
export const writeRemoveTable = (batch: MessageBatch, table: string): void =>
  writeNamed(batch, command.delTable, table);
export const writeGetTable = (batch: MessageBatch, table: string): void =>
  writeNamed(batch, command.getTable, table);
export const writeRemoveSet = (batch: MessageBatch, table: string, name: string): void =>
  writeNamed(batch, command.delSet, table, name);
export const writeGetSets = (batch: MessageBatch, table: string): void =>
  writeNamed(batch, command.getSet, table);
export const writeGetElements = (batch: MessageBatch, table: string, name: string): void =>
  writeNamed(batch, command.getElements, table, name);
/** All rules of the chain. */
export const writeRemoveRules = (batch: MessageBatch, table: string, name: string): void =>
  writeNamed(batch, command.delRule, table, name);
export const writeGetRules = (batch: MessageBatch, table: string): void =>
  writeNamed(batch, command.getRule, table);
/** Of all tables: older kernels have no filter here. */
export const writeGetChains = (batch: MessageBatch): void => writeNamed(batch, command.getChain);
export const writeGetGeneration = (batch: MessageBatch): void =>
  writeNamed(batch, command.getGeneration);

export const writeRemoveChain = (batch: MessageBatch, table: string, name: string): void =>
  write(batch, command.delChain, 0, () => {
    batch.attributeText(chain.table, table).attributeText(chain.name, name);
  });

export const writeNewChain = (batch: MessageBatch, table: string, { name, hook }: NftChain): void =>
  write(batch, command.newChain, create, () => {
    batch.attributeText(chain.table, table).attributeText(chain.name, name);
    if (hook === undefined) return;
    batch.nested(chain.hook, () =>
      batch
        .attributeU32be(hookAttribute.number, hooks.indexOf(hook.hook))
        .attributeU32be(hookAttribute.priority, hook.priority),
    );
    batch.attributeU32be(chain.policy, policyAccept).attributeText(chain.type, hook.type);
  });

/** Behind the chain's other rules. */
export const writeNewRule = (
  batch: MessageBatch,
  table: string,
  chainName: string,
  added: NftRule,
): void =>
  write(batch, command.newRule, create | append, () => {
    batch.attributeText(rule.table, table).attributeText(rule.chain, chainName);
    batch.nested(rule.expressions, () => writeStatements(batch, added.statements));
    batch.attributeOctets(rule.userData, encodeUserData(added));
  });

/** `id` is any number that no other set of the transaction has. */
export const writeNewSet = (
  batch: MessageBatch,
  table: string,
  { name, type, id }: { readonly name: string; readonly type: SetType; readonly id: number },
): void =>
  write(batch, command.newSet, create, () => {
    batch.attributeText(set.table, table).attributeText(set.name, name);
    batch.attributeU32be(set.flags, flagsOf(type));
    batch.attributeU32be(set.keyType, typeNumberOf(keyOf(type)));
    batch.attributeU32be(set.keyLength, lengthOf(keyOf(type)));
    if (type.kind === "map" && type.value.length > 0) {
      batch.attributeU32be(set.dataType, typeNumberOf(type.value));
      batch.attributeU32be(set.dataLength, lengthOf(type.value));
    }
    batch.attributeU32be(set.id, id);
    if (type.kind === "map" && type.timeoutMs !== undefined) {
      batch.attributeOctets(set.timeout, encodeTimeout(type.timeoutMs));
    }
  });

/** Milliseconds, as octets in network order. */
function encodeTimeout(ms: number): Uint8Array {
  const octets = Buffer.alloc(8);
  octets.writeBigUInt64BE(BigInt(ms));
  return octets;
}

/** What nf_tables calls a set, of the two shapes that we use. */
export type SetType =
  | { readonly kind: "networks"; readonly family: Family }
  | ({ readonly kind: "map" } & NftMapType);

const keyOf = (type: SetType): readonly NftDataType[] =>
  type.kind === "map" ? type.key : [type.family === 4 ? "ipv4_addr" : "ipv6_addr"];

function flagsOf(type: SetType): number {
  if (type.kind === "networks") return setFlagInterval;
  const ofValue = type.value.length > 0 ? setFlagMap : 0;
  return ofValue | (type.timeoutMs === undefined ? 0 : setFlagTimeout);
}

/** An element of a set or map, as octets in network order. */
export interface RawElement {
  readonly key: Uint8Array;
  readonly value?: Uint8Array;
  /** NFT_SET_ELEM_INTERVAL_END: the key is the first that no longer belongs. */
  readonly isEnd?: boolean;
}

/** Adds or removes elements, in as many messages as it takes. */
export function writeElements(
  batch: MessageBatch,
  action: "add" | "remove",
  where: { readonly table: string; readonly set: string },
  list: readonly RawElement[],
): void {
  const kind = action === "add" ? command.newElements : command.delElements;
  for (let from = 0; from < list.length; from += elementsPerMessage) {
    const part = list.slice(from, from + elementsPerMessage);
    write(batch, kind, action === "add" ? create : 0, () => writeElementList(batch, where, part));
  }
}

/** Asks for the one element of this key. */
export const writeGetElement = (
  batch: MessageBatch,
  where: { readonly table: string; readonly set: string },
  key: Uint8Array,
): void => write(batch, command.getElements, 0, () => writeElementList(batch, where, [{ key }]));

function writeElementList(
  batch: MessageBatch,
  where: { readonly table: string; readonly set: string },
  list: readonly RawElement[],
): void {
  batch.attributeText(elements.table, where.table).attributeText(elements.set, where.set);
  batch.nested(elements.list, () => {
    for (const { key, value, isEnd = false } of list) {
      batch.nested(listElement, () => {
        if (isEnd) batch.attributeU32be(element.flags, elementFlagEnd);
        batch.nested(element.key, () => batch.attributeOctets(dataValue, key));
        if (value === undefined || value.length === 0) return;
        batch.nested(element.data, () => batch.attributeOctets(dataValue, value));
      });
    }
  });
}

function encodeUserData(added: NftRule): Uint8Array {
  const comment = Buffer.from(`${added.comment}\0`);
  invariant(comment.length <= longestComment, `the comment of a rule fits: "${added.comment}"`);
  const digest = Buffer.from(nftRuleDigest(added));
  return Buffer.concat([
    ...(added.comment === "" ? [] : [Uint8Array.of(userDataComment, comment.length), comment]),
    Uint8Array.of(userDataDigest, digest.length),
    digest,
  ]);
}

/** The digest in a rule's user data; "" when it carries none. */
function decodeDigest(userData: Buffer): string {
  for (let at = 0; at + 2 <= userData.length;) {
    const length = userData.readUInt8(at + 1);
    const value = userData.subarray(at + 2, at + 2 + length);
    if (userData.readUInt8(at) === userDataDigest) return value.toString("latin1");
    at += 2 + length;
  }
  return "";
}

/** Which of our family's tables a notification is about; undefined for one of another family. */
export const tableOf = (message: Message): string | undefined =>
  message.type >> 8 === subsystem &&
  (message.type & 0xff) !== command.newGeneration &&
  message.u8(0) === inetFamily
    ? message.attributes(nfgenLength).text(tableAttribute)
    : undefined;

export function decodeTableFlags(message: Message): readonly NftTableFlag[] {
  const flags = message.attributes(nfgenLength).u32be(tableFlagsAttribute) ?? 0;
  const names = ["dormant", "owner", "persist"] as const;
  return names.filter((name) => (flags & tableFlags[name]) !== 0);
}

export const decodeGeneration = (message: Message): number =>
  message.attributes(nfgenLength).u32be(1) ?? 0;

export interface DecodedChain {
  readonly name: string;
  /** "other": a base chain that we would not make, such as one that drops by default. */
  readonly base: NftBaseChain | "none" | "other";
}

export const decodeChain =
  (table: string) =>
  (message: Message): DecodedChain | undefined => {
    const attributes = message.attributes(nfgenLength);
    const name = attributes.text(chain.name);
    if (message.u8(0) !== inetFamily || name === undefined) return undefined;
    return attributes.text(chain.table) === table
      ? { name, base: decodeBase(attributes) }
      : undefined;
  };

function decodeBase(attributes: Attributes): DecodedChain["base"] {
  const nested = attributes.nested(chain.hook);
  if (nested === undefined) return "none";
  const hook = hooks[nested.u32be(hookAttribute.number) ?? -1];
  const type = attributes.text(chain.type);
  const isAccepting = attributes.u32be(chain.policy) === policyAccept;
  if (hook === undefined || !isAccepting || !isChainType(type)) return "other";
  return { type, hook, priority: (nested.u32be(hookAttribute.priority) ?? 0) | 0 };
}

const isChainType = (type: string | undefined): type is NftBaseChain["type"] =>
  type === "filter" || type === "nat" || type === "route";

export interface DecodedRule {
  readonly chain: string;
  readonly digest: string;
}

export const decodeRule =
  (table: string) =>
  (message: Message): DecodedRule | undefined => {
    const attributes = message.attributes(nfgenLength);
    if (message.u8(0) !== inetFamily || attributes.text(rule.table) !== table) return undefined;
    const userData = attributes.octets(rule.userData);
    return {
      chain: attributes.text(rule.chain) ?? "",
      digest: userData === undefined ? "" : decodeDigest(userData),
    };
  };

export interface DecodedSet {
  readonly name: string;
  /** Absent when it is of neither shape that we use. */
  readonly type?: SetType;
}

export const decodeSet =
  (table: string) =>
  (message: Message): DecodedSet | undefined => {
    const attributes = message.attributes(nfgenLength);
    const name = attributes.text(set.name);
    if (message.u8(0) !== inetFamily || name === undefined) return undefined;
    if (attributes.text(set.table) !== table) return undefined;
    const type = decodeSetType(attributes);
    return type === undefined ? { name } : { name, type };
  };

function decodeSetType(attributes: Attributes): SetType | undefined {
  const key = typesFrom(attributes.u32be(set.keyType) ?? 0);
  const flags = attributes.u32be(set.flags) ?? 0;
  if (flags === setFlagInterval) {
    const [only] = key ?? [];
    const family = ([4, 6] as const).find((each) => only === `ipv${each}_addr`);
    return key?.length !== 1 || family === undefined ? undefined : { kind: "networks", family };
  }
  const value = typesFrom(attributes.u32be(set.dataType) ?? 0);
  if (key === undefined || value === undefined) return undefined;
  const timeout = attributes.octets(set.timeout)?.readBigUInt64BE();
  const type: SetType = {
    kind: "map",
    key,
    value,
    ...(timeout !== undefined && { timeoutMs: Number(timeout) }),
  };
  return flags === flagsOf(type) ? type : undefined;
}

/** The elements in one message, of a dump or of the answer to {@link writeGetElement}. */
export function decodeElements(message: Message): readonly RawElement[] {
  const list = message.attributes(nfgenLength).nested(elements.list);
  if (list === undefined) return [];
  return Array.from(list.list(), (attributes): RawElement => {
    const flags = attributes.u32be(element.flags) ?? 0;
    const value = attributes.nested(element.data)?.octets(dataValue);
    return {
      key: Buffer.from(attributes.nested(element.key)?.octets(dataValue) ?? []),
      ...(value !== undefined && { value: Buffer.from(value) }),
      isEnd: (flags & elementFlagEnd) !== 0,
    };
  });
}
