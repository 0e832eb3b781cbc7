// What the keys of the store hold.
//   division        how the cluster CIDRs are cut into blocks, for all nodes
//   nodes/<name>    who goes by this name
//   blocks/<block>  who has this block; 10.244.1.0/24 is blocks/10.244.1.0-24
import * as v from "valibot";
import { type Cidr, parseCidr } from "../../core/address.ts";
import { cidrSchema, oneOf, wholeNumber } from "../../core/schema.ts";
import type { ClaimEntry } from "./store.ts";

export const divisionKey = "division";
export const nodesPrefix = "nodes/";
export const blocksPrefix = "blocks/";
export const nodeKey = (name: string): string => nodesPrefix + name;
/** In letters that every store takes. No block's text has a "-" or "_": two blocks have two keys. */
export const blockKey = (block: Cidr): string =>
  blocksPrefix + block.replaceAll(":", "_").replace("/", "-");
/** Undefined for a key that is no block's. */
export const blockOfKey = (key: string): Cidr | undefined =>
  parseCidr(key.slice(blocksPrefix.length).replaceAll("_", ":").replace("-", "/"));

const text = v.string("text");
const version = v.literal(1, "1, the only version of this fairlead");

const division = v.object({
  version,
  cidrs: v.array(v.object({ cidr: cidrSchema, prefixLength: wholeNumber(0, 128) })),
});
const node = v.object({
  version,
  /** alive: it may have blocks. released: its blocks are being taken from it. */
  state: oneOf(["alive", "released"]),
  /** Of the machine: two machines with one name differ in it. */
  instance: text,
  /** Of the registration: a process that starts takes a new one. */
  session: text,
  /** Grows with every sign of life. */
  beat: wholeNumber(0, Number.MAX_SAFE_INTEGER),
});
const block = v.object({
  version,
  node: text,
  session: text,
  /** leaving: given no more addresses of; the only state in which a claim is removed. */
  state: oneOf(["active", "leaving"]),
  pool: text,
  /** The node's blocks in the order in which it got them. */
  order: wholeNumber(0, Number.MAX_SAFE_INTEGER),
  /** The pod CIDR given by hand that this block is a part of, or the other way round. */
  manual: v.exactOptional(cidrSchema),
});

export type DivisionRecord = v.InferOutput<typeof division>;
export type NodeRecord = v.InferOutput<typeof node>;
export type BlockRecord = v.InferOutput<typeof block>;

const read = <T>(schema: v.GenericSchema<unknown, T>, { key, value }: ClaimEntry): T => {
  try {
    return v.parse(schema, JSON.parse(value));
  } catch (cause) {
    // What it says cannot be told, so nothing may be decided without it.
    throw new Error(`Cannot read the record "${key}" of the cluster's store`, { cause });
  }
};

/** These throw Error, naming the key, for what is no record of this version. */
export const readDivision = (entry: ClaimEntry): DivisionRecord => read(division, entry);
export const readNode = (entry: ClaimEntry): NodeRecord => read(node, entry);
/** Undefined for what is no record of this version: the block is somebody's, nobody knows whose. */
export function readBlock(entry: ClaimEntry): BlockRecord | undefined {
  try {
    return read(block, entry);
  } catch {
    return undefined;
  }
}
export const formatRecord = (record: DivisionRecord | NodeRecord | BlockRecord): string =>
  JSON.stringify(record);
