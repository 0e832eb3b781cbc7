// A netlink socket of our own, synchronous and batched: many messages per system call, only the last
// one asks for an acknowledgement, and failures come with the kernel's own words (extended ACK).
import { write as writeDescriptor } from "node:fs";
import { promisify } from "node:util";
import { Flags, FlagsAck, FlagsGet, MessageType } from "netlink/dist/constants.js";
import { invariant } from "../core/assert.ts";
import { KernelError, toError } from "../core/error.ts";
import { checked, errnoName } from "./errno.ts";
import type { SystemCalls } from "./ffi.ts";
import { type MessageBatch, align, headerLength } from "./message.ts";
import { Message } from "./received.ts";

const write = promisify(writeDescriptor);

/** Why message `index` of a batch failed. */
export interface MessageFailure {
  readonly index: number;
  readonly errno: string;
  readonly kernelMessage: string;
}

// <sys/socket.h>.
const msgTrunc = 0x20;
const msgDontwait = 0x40;

// struct nlmsgerr: the error, then the header of the message it is about (NLM_F_CAPPED), then TLVs.
const errorTlvsAt = 4 + headerLength;
const errorTextAttribute = 1;

/** Sent from another thread. */
export interface BegunBatch {
  readonly written: Promise<void>;
  readonly failures: () => readonly MessageFailure[];
}

/** How much is sent at once. */
export interface ChunkLimits {
  readonly messages: number;
  readonly octets: number;
}

// A failing message takes some 768 octets of the receive buffer, so that the default of 208 KiB holds
// 277 failures: one more and acknowledgements are lost. A chunk fits even where no privilege allows a
// larger buffer.
const usualChunk: ChunkLimits = { messages: 256, octets: 65_536 };
/** An interrupted dump (NLM_F_DUMP_INTR) is read again; a machine that never rests is an error. */
const dumpAttempts = 16;

/** Then the event loop has its turn: what is left is read in the next one. */
const readsPerDrain = 1024;

const errorType: number = MessageType.ERROR;
const doneType: number = MessageType.DONE;

/** How the kernel says that there is no such object. */
const absent: readonly string[] = ["ENODEV", "ENOENT", "ESRCH"];

// The kernel sizes dump messages by the largest read so far, at most 32 KiB. One buffer serves all
// sockets of the thread: every reply is decoded before the next receive.
const receiveBuffer = Buffer.allocUnsafe(65_536);

/** What became of the waiting notifications. */
export interface Drained {
  /** Some did not fit the socket's buffer. The kernel says so once, and drops more until it is empty. */
  readonly isLost: boolean;
  readonly isEmpty: boolean;
}

/** Tells a receive loop to go on or that the last reply has come. */
type Verdict = "more" | "done";
type OnReply = (reply: Reply) => Verdict;

interface Reply {
  /** Which message of the batch it answers. */
  readonly index: number;
  readonly flags: number;
  readonly message: Message;
}

export class NetlinkSocket implements Disposable {
  readonly fd: number;
  readonly #system: SystemCalls;
  readonly #chunk: ChunkLimits;
  #nextSequence = 1;
  #isOpen = true;
  #port: number | undefined;

  /** @param chunk as much as both buffers of the socket take, failures and all. */
  constructor(system: SystemCalls, fd: number, chunk = usualChunk) {
    this.#system = system;
    this.#chunk = chunk;
    this.fd = fd;
  }

  /** By which notifications name it as the sender; undefined before anything was answered. */
  get port(): number | undefined {
    return this.#port;
  }

  [Symbol.dispose](): void {
    if (this.#isOpen) this.#system.close(this.fd);
    this.#isOpen = false;
  }

  /**
   * Sends all messages, in order and in as few system calls as is safe, and waits until the kernel
   * has worked through them. A failing message does not stop those behind it.
   */
  send(batch: MessageBatch): readonly MessageFailure[] {
    const failures: MessageFailure[] = [];
    for (let first = 0; first < batch.count;) {
      const end = endOfChunk(batch, first, this.#chunk);
      const base = this.#transmit(batch, first, end, Flags.ACK);
      this.#receiveFailures(base, end - first, (failure) => failures.push(after(first, failure)));
      first = end;
    }
    return failures;
  }

  /**
   * As {@link send}, written in Node's thread pool: for what the kernel takes milliseconds to do. The
   * socket and the batch are not to be used until it settles.
   */
  async sendOffLoop(batch: MessageBatch): Promise<readonly MessageFailure[]> {
    const failures: MessageFailure[] = [];
    for (let first = 0; first < batch.count;) {
      const end = endOfChunk(batch, first, this.#chunk);
      const base = this.#number(batch, first, end);
      addFlags(batch, end - 1, Flags.ACK);
      await write(this.fd, batch.octets.subarray(batch.startOf(first), batch.startOf(end)));
      // The kernel has answered by the time the write is over.
      this.#receiveFailures(base, end - first, (failure) => failures.push(after(first, failure)));
      first = end;
    }
    return failures;
  }

  /**
   * As {@link sendOffLoop}, for a batch of one chunk that is asked about later: `written` resolves when the
   * kernel has worked through it, as it has when there is something to receive; `failures` waits for it.
   */
  begin(batch: MessageBatch): BegunBatch {
    const { count } = batch;
    invariant(endOfChunk(batch, 0, this.#chunk) === count, "what is begun is one chunk");
    const base = this.#number(batch, 0, count);
    addFlags(batch, count - 1, Flags.ACK);
    return {
      written: write(this.fd, batch.octets.subarray(0, batch.startOf(count))).then(() => {}),
      failures: () => {
        const failures: MessageFailure[] = [];
        this.#receiveFailures(base, count, (failure) => failures.push(failure));
        return failures;
      },
    };
  }

  /**
   * All objects that a dump request, the one message of the batch, gives. An interrupted dump is read
   * again. `decode` gives undefined for what it leaves out; nothing may keep the message.
   */
  dump<T>(request: MessageBatch, decode: (message: Message) => T | undefined): readonly T[] {
    for (let attempt = 1; attempt <= dumpAttempts; attempt++) {
      const found = this.#dumpOnce(request, decode);
      if (found !== undefined) return found;
    }
    throw new KernelError(`dump netlink objects undisturbed in ${dumpAttempts} attempts`, "EINTR");
  }

  /** The one object that the request asks for, or undefined when there is no such. */
  get<T>(request: MessageBatch, decode: (message: Message) => T): T | undefined {
    const base = this.#transmit(request, 0, 1, 0);
    let found: T | undefined;
    this.#receive(base, 1, ({ index, flags, message }) => {
      if (message.type !== errorType) found = decode(message);
      else {
        const failure = failureOf(message, index, flags);
        if (failure !== undefined && !absent.includes(failure.errno)) {
          throw new KernelError("get a netlink object", failure.errno, failure.kernelMessage);
        }
      }
      return "done";
    });
    return found;
  }

  /**
   * One nfnetlink transaction: its begin, its messages, its end, with one system call. Gives the first
   * failure, of which index 0 is of the whole; then nothing is changed.
   */
  transact(batch: MessageBatch): MessageFailure | undefined {
    // Older kernels acknowledge no end of a transaction, so the message before it is asked to be.
    const last = batch.count - 2;
    const base = this.#number(batch, 0, batch.count);
    addFlags(batch, last, Flags.ACK);
    this.#write(batch, 0, batch.count);
    let first: MessageFailure | undefined;
    this.#receive(base, batch.count, ({ index, flags, message }) => {
      if (message.type !== errorType) return "more";
      first ??= failureOf(message, index, flags);
      return index === last || index === 0 ? "done" : "more";
    });
    return first;
  }

  /** Reads notifications that are waiting, without blocking. A message is valid while it is handed over. */
  drain(onMessage: (message: Message) => void): Drained {
    let isLost = false;
    for (let reads = 0; reads < readsPerDrain; reads++) {
      const length = this.#system.recv(this.fd, receiveBuffer, msgDontwait);
      if (length < 0) {
        const errno = errnoName(length);
        if (errno === "EAGAIN") return { isLost, isEmpty: true };
        // Whatever failed, who compares everything anew is right.
        isLost ||= errno !== "EINTR";
        continue;
      }
      for (let at = 0; at + headerLength <= length;) {
        const end = at + Math.max(headerLength, receiveBuffer.readUInt32LE(at));
        const type = receiveBuffer.readUInt16LE(at + 4);
        onMessage(new Message(type, receiveBuffer, at + headerLength, Math.min(end, length)));
        at = align(end);
      }
    }
    return { isLost, isEmpty: false };
  }

  #receiveFailures(
    base: number,
    count: number,
    onFailure: (failure: MessageFailure) => void,
  ): void {
    this.#receive(base, count, ({ index, flags, message }) => {
      if (message.type !== errorType) return "more";
      const failure = failureOf(message, index, flags);
      if (failure !== undefined) onFailure(failure);
      return index === count - 1 ? "done" : "more";
    });
  }

  /** Undefined when the dump was interrupted. */
  #dumpOnce<T>(request: MessageBatch, decode: (message: Message) => T | undefined) {
    const base = this.#transmit(request, 0, 1, FlagsGet.DUMP);
    const found: T[] = [];
    let isInterrupted = false;
    let problem: Error | undefined;
    this.#receive(base, 1, ({ index, flags, message }) => {
      isInterrupted ||= (flags & Flags.DUMP_INTR) !== 0;
      if (message.type === errorType || message.type === doneType) {
        const failure = failureOf(message, index, flags);
        if (failure !== undefined) {
          problem ??= new KernelError("dump netlink objects", failure.errno, failure.kernelMessage);
        }
        return "done";
      }
      try {
        const object = decode(message);
        if (object !== undefined) found.push(object);
      } catch (thrown) {
        // The dump is read to its end all the same: the socket takes no other one before.
        problem ??= toError(thrown);
      }
      return "more";
    });
    if (problem !== undefined) throw problem;
    return isInterrupted ? undefined : found;
  }

  /** Sends messages first to end - 1, the last with more flags; gives their first number. */
  #transmit(batch: MessageBatch, first: number, end: number, lastFlags: number): number {
    const base = this.#number(batch, first, end);
    addFlags(batch, end - 1, lastFlags);
    this.#write(batch, first, end);
    return base;
  }

  #write(batch: MessageBatch, first: number, end: number): void {
    const from = batch.startOf(first);
    const octets = batch.octets.subarray(from);
    checked(this.#system.send(this.fd, octets, batch.startOf(end) - from), "send to netlink");
  }

  /** Gives messages first to end - 1 their sequence numbers, and returns the first of them. */
  #number(batch: MessageBatch, first: number, end: number): number {
    // The number of a closed descriptor may be somebody else's by now.
    if (!this.#isOpen) throw new KernelError("send to netlink", "EBADF");
    const { octets } = batch;
    const base = this.#nextSequence;
    for (let index = first; index < end; index++) {
      octets.writeUInt32LE((base + index - first) >>> 0, batch.startOf(index) + 8);
    }
    this.#nextSequence = (base + end - first) >>> 0;
    return base;
  }

  /** Gives `onReply` what answers the `count` messages from sequence number `base` until it is done. */
  #receive(base: number, count: number, onReply: OnReply): void {
    for (;;) {
      const length = this.#system.recv(this.fd, receiveBuffer, msgTrunc);
      if (length < 0) {
        const errno = errnoName(length);
        if (errno === "EINTR") continue;
        throw new KernelError("receive from netlink", errno === "EAGAIN" ? "ETIMEDOUT" : errno);
      }
      if (length > receiveBuffer.length) {
        throw new KernelError(`receive a netlink message of ${length} octets`, "EMSGSIZE");
      }
      if (this.#readReplies(length, base, count, onReply) === "done") return;
    }
  }

  #readReplies(length: number, base: number, count: number, onReply: OnReply): Verdict {
    for (let at = 0; at + headerLength <= length;) {
      const size = receiveBuffer.readUInt32LE(at);
      if (size < headerLength || at + size > length) {
        throw new KernelError(`read a netlink message of ${size} octets`, "EBADMSG");
      }
      const index = (receiveBuffer.readUInt32LE(at + 8) - base) >>> 0;
      // What is left of an earlier exchange, one that timed out, is not ours.
      if (index < count) {
        this.#port = receiveBuffer.readUInt32LE(at + 12);
        const type = receiveBuffer.readUInt16LE(at + 4);
        const flags = receiveBuffer.readUInt16LE(at + 6);
        const message = new Message(type, receiveBuffer, at + headerLength, at + size);
        if (onReply({ index, flags, message }) === "done") return "done";
      }
      at += align(size);
    }
    return "more";
  }
}

function addFlags(batch: MessageBatch, index: number, flags: number): void {
  const at = batch.startOf(index) + 6;
  const { octets } = batch;
  octets.writeUInt16LE(octets.readUInt16LE(at) | flags, at);
}

const after = (first: number, failure: MessageFailure): MessageFailure => ({
  ...failure,
  index: first + failure.index,
});

/** Where a chunk that starts with message `first` ends: at least one message, within both limits. */
function endOfChunk(batch: MessageBatch, first: number, chunk: ChunkLimits): number {
  const from = batch.startOf(first);
  let end = first + 1;
  while (
    end < batch.count &&
    end - first < chunk.messages &&
    batch.startOf(end + 1) - from <= chunk.octets
  ) {
    end++;
  }
  invariant(end > first, "a chunk holds at least one message");
  return end;
}

/** The failure that an NLMSG_ERROR or NLMSG_DONE tells of; undefined when it says that all is well. */
function failureOf(message: Message, index: number, flags: number): MessageFailure | undefined {
  const error = message.u32(0) | 0;
  if (error >= 0) return undefined;
  const tlvsAt = message.type === doneType ? 4 : errorTlvsAt;
  const hasText = (flags & FlagsAck.ACK_TLVS) !== 0;
  const kernelMessage = hasText ? message.attributes(tlvsAt).text(errorTextAttribute) : undefined;
  return { index, errno: errnoName(error), kernelMessage: kernelMessage ?? "" };
}
