// Many datagrams in one system call each way: recvmmsg(2), sendmmsg(2), with all memory laid out once.
import { closeSync } from "node:fs";
import { checked, errnoName } from "./errno.ts";
import { addressFamily } from "./family.ts";
import { addressOf, datagramCalls, systemCalls } from "./ffi.ts";

/** struct mmsghdr on 64-bit Linux, <sys/socket.h>: where its members lie. Octets. */
const header = {
  octets: 64,
  name: 0,
  nameLength: 8,
  vector: 16,
  vectors: 24,
  flags: 48,
  length: 56,
};
/** struct iovec: an address and a length. */
const vector = { octets: 16, length: 8 };
/** The larger of struct sockaddr_in and sockaddr_in6, with some room. */
const nameOctets = 32;
const longestName = 28;

const sockDgram = 2;
const msgDontwait = 0x40;
const msgTrunc = 0x20;

/** Whether the kernel, and the layout of its structures, are as this file has them: tried on a socket. */
export function canBatch(): boolean {
  const fd = checked(systemCalls.socket(addressFamily(4), sockDgram, 0), "open a UDP socket");
  try {
    return errnoName(new DatagramBatch(1).receive(fd)) === "EAGAIN";
  } finally {
    closeSync(fd);
  }
}

/** Octets that one datagram may have; longer ones are cut. */
export const datagramOctets = 4096;
// Not a power of two: slots that lie 4 KiB apart would share few lines of the processor's cache.
const slotOctets = datagramOctets + 320;

/**
 * Room for `capacity` datagrams, which are read, and answered where they lie: an answer takes the place
 * of what it answers and goes back to where that came from, through the same socket, so that it leaves
 * from the address asked.
 */
export class DatagramBatch {
  /** All datagrams: each from its {@link start}. */
  readonly memory: Uint8Array;
  readonly capacity: number;
  readonly #words: Uint32Array;
  readonly #incoming: Uint8Array;
  readonly #outgoing: Uint8Array;
  readonly #outgoingAt: number;
  readonly #outgoingVectorsAt: number;
  readonly #namesAt: number;
  readonly #slotsAt: number;
  #answers = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#outgoingAt = header.octets * capacity;
    const vectorsAt = this.#outgoingAt + header.octets * capacity;
    this.#outgoingVectorsAt = vectorsAt + vector.octets * capacity;
    this.#namesAt = this.#outgoingVectorsAt + vector.octets * capacity;
    this.#slotsAt = this.#namesAt + nameOctets * capacity;
    const buffer = new ArrayBuffer(this.#slotsAt + slotOctets * capacity);
    this.memory = new Uint8Array(buffer);
    this.#words = new Uint32Array(buffer);
    this.#incoming = this.memory.subarray(0, this.#outgoingAt);
    this.#outgoing = this.memory.subarray(this.#outgoingAt, vectorsAt);
    this.#layOut(vectorsAt);
  }

  #layOut(vectorsAt: number): void {
    const view = new DataView(this.memory.buffer);
    const base = addressOf(this.memory);
    const point = (at: number, to: number): void => view.setBigUint64(at, base + BigInt(to), true);
    for (let i = 0; i < this.capacity; i++) {
      const incomingVector = vectorsAt + vector.octets * i;
      const outgoingVector = this.#outgoingVectorsAt + vector.octets * i;
      const headers = [
        [header.octets * i, incomingVector],
        [this.#outgoingAt + header.octets * i, outgoingVector],
      ] as const;
      for (const [at, vectorAt] of headers) {
        point(at + header.name, this.#namesAt + nameOctets * i);
        point(at + header.vector, vectorAt);
        view.setUint32(at + header.vectors, 1, true);
        point(vectorAt, this.start(i));
      }
      view.setUint32(incomingVector + vector.length, datagramOctets, true);
    }
  }

  /** Takes what waits at the socket, without waiting for more: how many, or a negative errno. */
  receive(fd: number): number {
    for (let i = 0; i < this.capacity; i++) {
      this.#words[(header.octets * i + header.nameLength) >> 2] = longestName;
    }
    this.#answers = 0;
    return datagramCalls.recvmmsg(fd, this.#incoming, this.capacity, msgDontwait);
  }

  /** Where the datagram starts in {@link memory}. */
  start(i: number): number {
    return this.#slotsAt + slotOctets * i;
  }

  /** Octets of the datagram. */
  length(i: number): number {
    return this.#words[(header.octets * i + header.length) >> 2] ?? 0;
  }

  /** The datagram was longer than {@link datagramOctets}, and the rest of it is lost. */
  isCut(i: number): boolean {
    return ((this.#words[(header.octets * i + header.flags) >> 2] ?? 0) & msgTrunc) !== 0;
  }

  /** Where in {@link memory} the struct sockaddr of its sender starts. */
  sourceStart(i: number): number {
    return this.#namesAt + nameOctets * i;
  }

  /** Octets of the sender's struct sockaddr. */
  sourceLength(i: number): number {
    return this.#words[(header.octets * i + header.nameLength) >> 2] ?? 0;
  }

  /** The first `length` octets where the datagram lay are the answer to it: to be sent with the rest. */
  answer(i: number, length: number): void {
    const words = this.#words;
    const n = this.#answers++;
    const to = (this.#outgoingAt + header.octets * n) >> 2;
    const from = (header.octets * i) >> 2;
    const octets = (this.#outgoingVectorsAt + vector.octets * n) >> 2;
    // Pointers to the sender's address and to the slot; the rest of the header stays as it is.
    words[to] = words[from] ?? 0;
    words[to + 1] = words[from + 1] ?? 0;
    words[to + (header.nameLength >> 2)] = words[from + (header.nameLength >> 2)] ?? 0;
    this.#pointToSlot(octets, i);
    words[octets + (vector.length >> 2)] = length;
  }

  // The incoming vector of the slot has its address.
  #pointToSlot(wordAt: number, i: number): void {
    const words = this.#words;
    const from = (this.#outgoingVectorsAt - vector.octets * (this.capacity - i)) >> 2;
    words[wordAt] = words[from] ?? 0;
    words[wordAt + 1] = words[from + 1] ?? 0;
  }

  /**
   * Sends the answers: how many could not be sent. A full socket is such a reason too: who waits for
   * it lets everybody else wait.
   */
  send(fd: number): number {
    let failed = 0;
    for (let done = 0; done < this.#answers;) {
      const rest = done === 0 ? this.#outgoing : this.#outgoing.subarray(header.octets * done);
      const sent = datagramCalls.sendmmsg(fd, rest, this.#answers - done, msgDontwait);
      // The error is that of the first one: the others may still go.
      if (sent <= 0) failed++;
      done += Math.max(1, sent);
    }
    this.#answers = 0;
    return failed;
  }
}
