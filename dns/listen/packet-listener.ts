import { once } from "node:events";
import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import type { Cidr } from "../../core/address.ts";
import { describeError } from "../../core/error.ts";
import { Waker } from "../../kernel/blocking-poll.ts";
import { canBatch } from "../../kernel/datagram-batch.ts";
import { addressFrom, bindUdp, sendUdp } from "../../kernel/udp-socket.ts";
import type { Name } from "../message/name.ts";
import type { SharedCounters } from "../observe/counters.ts";
import type { Responder } from "../respond/responder.ts";
import type { WireUpdate } from "../wire/wire-update.ts";
import {
  Control,
  type FromPackets,
  type HandedQuery,
  type PacketCommand,
  type PacketStart,
  unpackQueries,
} from "./packet-protocol.ts";
import type { SharedDescriptors } from "./shared-descriptors.ts";
import type { UdpListenOptions } from "./transport.ts";
import { type Listener, receiveBufferOctets } from "./udp-listener.ts";

export interface PacketOptions {
  readonly domain: Name;
  readonly clients: readonly Cidr[];
  readonly queriesPerSecond: number;
  readonly realtimeShare: number;
  readonly seed: number;
  readonly counters: SharedCounters;
  /** Of SharedTraffic. */
  readonly traffic: SharedArrayBuffer;
  readonly descriptors: SharedDescriptors;
  /** Of PodTurns. */
  readonly podTurns: SharedArrayBuffer;
}

/**
 * Listens over UDP with a thread of its own, which answers what it knows and leaves the rest to
 * `respond`. Rejects where that cannot be done: without koffi, or without the system calls.
 */
export async function openPacketThread(options: PacketOptions): Promise<PacketListeners> {
  if (!canBatch()) throw new Error("recvmmsg does not work here");
  const listeners = new PacketListeners(options);
  try {
    await listeners.ready;
  } catch (thrown) {
    await listeners[Symbol.asyncDispose]();
    throw new Error(`Cannot start the packet thread: ${describeError(thrown)}`, { cause: thrown });
  }
  return listeners;
}

export class PacketListeners implements AsyncDisposable {
  /** Rejects when the thread does not start. */
  readonly ready: Promise<unknown>;
  readonly #counters: SharedCounters;
  readonly #descriptors: SharedDescriptors;
  readonly #control = new Control();
  readonly #waker = new Waker();
  readonly #commands: MessagePort;
  readonly #worker: Worker;
  readonly #ended: Promise<unknown>;
  /** By descriptor. */
  readonly #responders = new Map<number, Responder>();
  /** Descriptors that are not read any more. */
  readonly #paused = new Set<number>();
  /** Who waits for which turn of "watch". */
  readonly #watching = new Map<number, () => void>();
  #turn = 0;
  #hasEnded = false;

  constructor(options: PacketOptions) {
    const { counters, descriptors } = options;
    this.#counters = counters;
    this.#descriptors = descriptors;
    descriptors.add(this.#waker.fd);
    const { port1, port2 } = new MessageChannel();
    this.#commands = port1;
    const start: PacketStart = {
      domain: options.domain,
      clients: options.clients,
      queriesPerSecond: options.queriesPerSecond,
      realtimeShare: options.realtimeShare,
      seed: options.seed,
      counters: counters.buffer,
      traffic: options.traffic,
      control: this.#control.buffer,
      podTurns: options.podTurns,
      wakerFd: this.#waker.fd,
      commands: port2,
    };
    this.#worker = new Worker(threadUrl, {
      workerData: start,
      transferList: [port2],
      name: "fairlead-dns-udp",
      // It makes no garbage to speak of.
      resourceLimits: { maxYoungGenerationSizeMb: 2 },
    });
    this.ready = once(this.#worker, "message");
    this.#ended = new Promise((resolve) => this.#worker.once("exit", resolve));
    void this.#ended.then(() => {
      this.#hasEnded = true;
      this.#watched(Infinity);
    });
    this.#worker.on("message", (message: FromPackets) => this.#receive(message));
    // Without it nothing is answered: this thread ends too, and both are started again.
    this.#worker.on("error", (thrown) => {
      if (this.#responders.size > 0) throw thrown;
    });
  }

  publish(update: WireUpdate): void {
    this.#send({ kind: "update", update });
  }

  /** Resolves when the thread has come by between two rounds. */
  alive(): Promise<void> {
    return this.#watch();
  }

  /** Answers on one more address. Rejects when it cannot be bound. A given socket becomes its own. */
  async listen({ address, port, respond, fd: given }: UdpListenOptions): Promise<Listener> {
    const fd = given ?? bindUdp(address, port, receiveBufferOctets);
    this.#descriptors.add(fd);
    this.#responders.set(fd, respond);
    await this.#watch();
    return {
      failed: new Promise<never>(() => {}),
      fd,
      pause: async () => {
        this.#paused.add(fd);
        await this.#watch();
      },
      [Symbol.asyncDispose]: async () => {
        this.#responders.delete(fd);
        this.#paused.delete(fd);
        await this.#watch();
        this.#descriptors.close(fd);
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#responders.clear();
    this.#control.stop();
    this.#waker.wake();
    await this.#ended;
    this.#commands.close();
    this.#descriptors.close(this.#waker.fd);
  }

  #send(command: PacketCommand): void {
    const port = this.#commands;
    port.postMessage(command);
    this.#control.countCommand();
  }

  async #watch(): Promise<void> {
    if (this.#hasEnded) return;
    const turn = ++this.#turn;
    const watching = new Promise<void>((resolve) => this.#watching.set(turn, resolve));
    this.#send({
      kind: "watch",
      turn,
      fds: [...this.#responders.keys()].filter((fd) => !this.#paused.has(fd)),
    });
    this.#waker.wake();
    await watching;
  }

  #watched(turn: number): void {
    for (const [asked, resolve] of this.#watching) {
      if (asked > turn) continue;
      this.#watching.delete(asked);
      resolve();
    }
  }

  #receive(message: FromPackets): void {
    switch (message.kind) {
      case "ready":
        return;
      case "watching":
        this.#watched(message.turn);
        return;
      case "queries":
        for (const query of unpackQueries(message.queries)) this.#respond(query);
    }
  }

  #respond(query: HandedQuery): void {
    this.#control.leave(query.place);
    const respond = this.#responders.get(query.fd);
    if (respond === undefined) return;
    const client = { address: addressFrom(query.source), transport: "udp" } as const;
    const answer = respond(query.packet, client);
    // A forwarded answer may come when the socket was closed, and another has its descriptor.
    const reply = (octets: Uint8Array | undefined): void => {
      if (octets === undefined || this.#responders.get(query.fd) !== respond) return;
      if (!sendUdp(query.fd, octets, query.source)) this.#counters.add("errors");
    };
    if (answer instanceof Promise) void answer.then(reply);
    else reply(answer);
  }
}

const threadUrl = new URL(
  import.meta.url.endsWith(".ts") ? "./packet-thread.ts" : "./dns-packet-thread.js",
  import.meta.url,
);
