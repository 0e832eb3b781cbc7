// etcd's API, version 3 (etcd.io, "etcd API"; api/etcdserverpb/rpc.proto, api/mvccpb/kv.proto): the
// requests and answers that are used, by their field numbers.
import { encodeMessage, type Fields, Message } from "../grpc/protobuf.ts";

export interface KeyValue {
  readonly key: string;
  readonly value: string;
  /** Of the key's last write; no other write of the store ever has it. */
  readonly modRevision: bigint;
}

/** What a transaction asks of a key before it writes: that there is none, or that it is of a revision. */
export interface Condition {
  readonly key: string;
  /** 0: the key is absent. */
  readonly modRevision: bigint;
  /** Asked of every key that starts so; it holds where there is none. */
  readonly isPrefix?: boolean;
}

export type Write =
  | { readonly kind: "put"; readonly key: string; readonly value: string; readonly lease?: bigint }
  | { readonly kind: "delete"; readonly key: string };

/** The end of the range of all keys that start so; every prefix here is text and not empty. */
export function endOfPrefix(prefix: string): Buffer {
  const octets = Buffer.from(prefix);
  octets.writeUInt8(octets.readUInt8(octets.length - 1) + 1, octets.length - 1);
  return octets;
}

export interface Header {
  readonly clusterId: bigint;
  readonly revision: bigint;
}

const readHeader = (message: Message): Header => {
  const header = message.message(1);
  return { clusterId: header.bigint(1), revision: header.bigint(3) };
};

const readKeyValue = (message: Message): KeyValue => ({
  key: message.text(1),
  value: message.text(5),
  modRevision: message.bigint(3),
});

export const encodeGet = (key: string): Buffer => encodeMessage({ 1: key });

export interface PageRequest {
  /** The first key that may be in it. */
  readonly from: string;
  readonly end: Buffer;
  readonly limit: number;
  /** 0: the newest. */
  readonly revision: bigint;
}

export const encodePage = ({ from, end, limit, revision }: PageRequest): Buffer =>
  encodeMessage({ 1: from, 2: end, 3: limit, 4: revision });

export interface Page {
  readonly header: Header;
  readonly entries: readonly KeyValue[];
  readonly hasMore: boolean;
}

export function decodePage(octets: Buffer): Page {
  const message = new Message(octets);
  return {
    header: readHeader(message),
    entries: message.messages(2).map(readKeyValue),
    hasMore: message.integer(3) === 1,
  };
}

const equal = 0;
const target = { modRevision: 2 } as const;

export function encodeTransaction(
  conditions: readonly Condition[],
  writes: readonly Write[],
): Buffer {
  return encodeMessage({
    // A key that is absent has the revision 0.
    1: conditions.map(({ key, modRevision, isPrefix = false }): Fields => ({
      1: equal,
      2: target.modRevision,
      3: key,
      6: modRevision,
      ...(isPrefix && { 64: endOfPrefix(key) }),
    })),
    2: writes.map((write): Fields =>
      write.kind === "put"
        ? { 2: { 1: write.key, 2: write.value, 3: write.lease } }
        : { 3: { 1: write.key } },
    ),
  });
}

export interface TransactionResult {
  readonly header: Header;
  /** The conditions held, and everything was written. */
  readonly isDone: boolean;
}

export function decodeTransaction(octets: Buffer): TransactionResult {
  const message = new Message(octets);
  return { header: readHeader(message), isDone: message.integer(2) === 1 };
}

export const encodeWatch = (prefix: string, startRevision: bigint): Buffer =>
  encodeMessage({ 1: { 1: prefix, 2: endOfPrefix(prefix), 3: startRevision, 4: true, 8: true } });

export type Event =
  | { readonly kind: "put"; readonly entry: KeyValue }
  | { readonly kind: "delete"; readonly key: string };

export interface WatchAnswer {
  readonly header: Header;
  readonly isCreated: boolean;
  readonly isCanceled: boolean;
  /** Not 0: what is older is not there any more, and the watch has ended. */
  readonly compactRevision: bigint;
  readonly cancelReason: string;
  /** More of the same revision follows. */
  readonly isFragment: boolean;
  readonly events: readonly Event[];
}

const deletion = 1;

export function decodeWatch(octets: Buffer): WatchAnswer {
  const message = new Message(octets);
  return {
    header: readHeader(message),
    isCreated: message.integer(3) === 1,
    isCanceled: message.integer(4) === 1,
    compactRevision: message.bigint(5),
    cancelReason: message.text(6),
    isFragment: message.integer(7) === 1,
    events: message.messages(11).map((event): Event => {
      const entry = readKeyValue(event.message(2));
      return event.integer(1) === deletion
        ? { kind: "delete", key: entry.key }
        : { kind: "put", entry };
    }),
  };
}

export const encodeLeaseGrant = (ttlSeconds: number): Buffer => encodeMessage({ 1: ttlSeconds });
export const decodeLeaseGrant = (octets: Buffer): bigint => new Message(octets).bigint(2);

export const encodeLease = (id: bigint): Buffer => encodeMessage({ 1: id });
/** Seconds; 0: there is no such lease any more. */
export const decodeKeepAlive = (octets: Buffer): number => new Message(octets).integer(3);

export const encodeLogin = (name: string, password: string): Buffer =>
  encodeMessage({ 1: name, 2: password });
export const decodeLogin = (octets: Buffer): string => new Message(octets).text(2);
