// Between the thread that takes datagrams and the one that has the responder.
import type { MessagePort } from "node:worker_threads";
import type { Cidr } from "../../core/address.ts";
import type { Name } from "../message/name.ts";
import type { WireUpdate } from "../wire/wire-update.ts";

/** What the packet thread is started with. */
export interface PacketStart {
  readonly domain: Name;
  readonly clients: readonly Cidr[];
  /** Of each client; 0: any number. */
  readonly queriesPerSecond: number;
  /** Of a processor's time: for so long the thread goes before all others. */
  readonly realtimeShare: number;
  /** Of all hashes; nobody else knows it. */
  readonly seed: number;
  readonly counters: SharedArrayBuffer;
  readonly traffic: SharedArrayBuffer;
  readonly control: SharedArrayBuffer;
  /** Of PodTurns. */
  readonly podTurns: SharedArrayBuffer;
  /** An eventfd: the thread blocks, and no message reaches it. */
  readonly wakerFd: number;
  /** Read whenever {@link Control} says that something was sent. */
  readonly commands: MessagePort;
}

export type PacketCommand =
  | { readonly kind: "update"; readonly update: WireUpdate }
  /** Of these sockets, and of no others; answered by "watching" with the same turn, or a later one. */
  | { readonly kind: "watch"; readonly fds: readonly number[]; readonly turn: number };

export type FromPackets =
  | { readonly kind: "ready" }
  /** No socket is touched any more but those of this turn. */
  | { readonly kind: "watching"; readonly turn: number }
  | { readonly kind: "queries"; readonly queries: Uint8Array };

/** Queries that wait for the responder: of all, and of one client, or those that share a place with it. */
export const maxWaiting = 8192;
export const maxWaitingPerClient = 1024;
const clientPlaces = 4096;

/** Numbers that both threads see at once. */
export class Control {
  readonly buffer: SharedArrayBuffer;
  readonly #values: Int32Array;
  readonly #perClient: Int32Array;

  constructor(buffer = new SharedArrayBuffer((3 + clientPlaces) * Int32Array.BYTES_PER_ELEMENT)) {
    this.buffer = buffer;
    this.#values = new Int32Array(buffer, 0, 3);
    this.#perClient = new Int32Array(buffer, 3 * Int32Array.BYTES_PER_ELEMENT);
  }

  /** The packet thread is to end. */
  get isStopped(): boolean {
    return Atomics.load(this.#values, 0) !== 0;
  }

  stop(): void {
    Atomics.store(this.#values, 0, 1);
  }

  /** How many commands were sent. */
  get commands(): number {
    return Atomics.load(this.#values, 1);
  }

  countCommand(): void {
    Atomics.add(this.#values, 1, 1);
  }

  /**
   * A place in the queue for a query of a client with this hash: which of them, or -1 when it has its share.
   * None has more than is left for others: as many as flood it, who asks little finds room.
   */
  enter(hash: number): number {
    const place = hash & (clientPlaces - 1);
    const left = maxWaiting - Atomics.load(this.#values, 2);
    const share = Math.min(left, maxWaitingPerClient);
    if (Atomics.load(this.#perClient, place) >= share) return -1;
    Atomics.add(this.#values, 2, 1);
    Atomics.add(this.#perClient, place, 1);
    return place;
  }

  leave(place: number): void {
    Atomics.sub(this.#values, 2, 1);
    Atomics.sub(this.#perClient, place, 1);
  }
}

/** One query on its way to the responder. */
export interface HandedQuery {
  readonly fd: number;
  readonly place: number;
  /** struct sockaddr. */
  readonly source: Uint8Array;
  readonly packet: Uint8Array;
}

/** In front of each query: descriptor and place, 4 octets each, lengths of source and packet, 2 each. */
const frontOctets = 12;

export const packedOctets = ({ source, packet }: HandedQuery): number =>
  frontOctets + source.length + packet.length;

/** Many queries as one message: each costs its thread a microsecond or two. */
export function packQueries(queries: readonly HandedQuery[]): Uint8Array {
  const octets = new Uint8Array(queries.reduce((sum, query) => sum + packedOctets(query), 0));
  const view = new DataView(octets.buffer);
  let at = 0;
  for (const { fd, place, source, packet } of queries) {
    view.setInt32(at, fd);
    view.setInt32(at + 4, place);
    view.setUint16(at + 8, source.length);
    view.setUint16(at + 10, packet.length);
    octets.set(source, at + frontOctets);
    octets.set(packet, at + frontOctets + source.length);
    at += frontOctets + source.length + packet.length;
  }
  return octets;
}

export function* unpackQueries(octets: Uint8Array): Generator<HandedQuery> {
  const view = new DataView(octets.buffer, octets.byteOffset, octets.byteLength);
  for (let at = 0; at < octets.length;) {
    const sourceEnd = at + frontOctets + view.getUint16(at + 8);
    const end = sourceEnd + view.getUint16(at + 10);
    yield {
      fd: view.getInt32(at),
      place: view.getInt32(at + 4),
      source: octets.subarray(at + frontOctets, sourceEnd),
      packet: octets.subarray(sourceEnd, end),
    };
    at = end;
  }
}
