// Takes datagrams in batches and answers from memory what it can, without an event loop: the thread is
// blocked in poll(2) or at work. The rest goes to the thread that started it.
import {
  type MessagePort,
  parentPort,
  receiveMessageOnPort,
  workerData,
} from "node:worker_threads";
import { invariant } from "../../core/assert.ts";
import type { Random } from "../../core/clock.ts";
import { BlockingPoll, longestPollMs } from "../../kernel/blocking-poll.ts";
import { threadsClock } from "../../kernel/clock.ts";
import { DatagramBatch } from "../../kernel/datagram-batch.ts";
import { giveBackHeapWhenCalled } from "../../kernel/memory-at-rest.ts";
import { preferThisThread, setRealtime } from "../../kernel/thread-priority.ts";
import { ClientNetworks } from "../clients/client-networks.ts";
import { SourceRate } from "../clients/source-rate.ts";
import { answerers, PodTurns } from "../cluster/pod-turns.ts";
import { hashOctets } from "../message/wire-hash.ts";
import { SharedCounters } from "../observe/counters.ts";
import { SharedTraffic } from "../observe/traffic.ts";
import { WireResponder } from "../wire/wire-responder.ts";
import { PacketCounts, tellMs } from "./packet-counts.ts";
import {
  Control,
  type FromPackets,
  type HandedQuery,
  type PacketCommand,
  type PacketStart,
  packQueries,
} from "./packet-protocol.ts";
import { RealtimeShare } from "./realtime-share.ts";

/** More gain nothing, and would make the first of them wait. */
const batchSize = 32;
/** Then the other sockets have their turn. */
const maxRounds = 8;

// Which of several addresses is first matters to nobody who could guess it.
const random: Random = { below: (limit) => Math.floor(Math.random() * limit) };

class PacketLoop {
  readonly #port: MessagePort;
  readonly #start: PacketStart;
  readonly #control: Control;
  readonly #podTurns: PodTurns;
  readonly #counts: PacketCounts;
  readonly #clients: ClientNetworks;
  readonly #rate: SourceRate;
  readonly #responder: WireResponder;
  readonly #batch = new DatagramBatch(batchSize);
  readonly #poll: BlockingPoll;
  readonly #realtime: RealtimeShare;
  /** The one at hand: the same object for all. */
  readonly #query = { at: 0, length: 0, sourceAt: 0, sourceLength: 0 };
  #fds: readonly number[] = [];
  #next: Extract<PacketCommand, { kind: "watch" }> | undefined;
  #commandsSeen = 0;

  constructor(port: MessagePort, start: PacketStart) {
    this.#port = port;
    this.#start = start;
    this.#control = new Control(start.control);
    this.#podTurns = new PodTurns(start.podTurns);
    this.#clients = new ClientNetworks(start.clients);
    this.#rate = new SourceRate(start.queriesPerSecond, start.seed);
    this.#responder = new WireResponder({ domain: start.domain, seed: start.seed, random });
    this.#counts = new PacketCounts(
      new SharedCounters(start.counters),
      new SharedTraffic(start.traffic),
      this.#responder.counts,
    );
    this.#poll = new BlockingPoll(start.wakerFd);
    this.#realtime = new RealtimeShare(start.realtimeShare, setRealtime);
  }

  run(): void {
    this.#post({ kind: "ready" });
    const giveBackAtRest = giveBackHeapWhenCalled();
    while (!this.#control.isStopped) {
      this.#poll.wait(this.#counts.isTold ? longestPollMs : tellMs);
      const startedAtMs = threadsClock.monotonicMs();
      for (const [i, fd] of this.#fds.entries()) if (this.#poll.isReady(i)) this.#serve(fd);
      const nowMs = threadsClock.monotonicMs();
      this.#counts.tell(nowMs);
      giveBackAtRest(nowMs);
      this.#obey();
      this.#changeSockets();
      this.#realtime.worked(startedAtMs, threadsClock.monotonicMs());
    }
    this.#counts.tell(Infinity);
  }

  #post(message: FromPackets): void {
    const port = this.#port;
    port.postMessage(message);
  }

  #obey(): void {
    const { commands } = this.#control;
    if (commands === this.#commandsSeen) return;
    this.#commandsSeen = commands;
    for (;;) {
      const received = receiveMessageOnPort(this.#start.commands);
      if (received === undefined) return;
      const command: PacketCommand = received.message;
      if (command.kind === "update") this.#responder.apply(command.update);
      else this.#next = command;
    }
  }

  // Only between the rounds: who hears "watching" may close the others.
  #changeSockets(): void {
    if (this.#next === undefined) return;
    const { fds, turn } = this.#next;
    this.#next = undefined;
    this.#fds = fds;
    this.#poll.watch(fds);
    this.#post({ kind: "watching", turn });
  }

  #serve(fd: number): void {
    for (let round = 0; round < maxRounds; round++) {
      const count = this.#batch.receive(fd);
      if (count <= 0) return;
      this.#podTurns.begin(answerers.packets);
      // While the resolver has not taken what is told of pods, nothing is answered but by itself.
      const { isBehind } = this.#podTurns;
      // What was published before a query was sent is in its answer.
      this.#obey();
      this.#answerAll(fd, count, isBehind);
      this.#podTurns.end(answerers.packets);
      if (count < this.#batch.capacity) return;
    }
  }

  #answerAll(fd: number, count: number, isLeft: boolean): void {
    const batch = this.#batch;
    const { memory } = batch;
    const query = this.#query;
    const nowMs = threadsClock.monotonicMs();
    let answered = 0;
    let handed: HandedQuery[] | undefined;
    for (let i = 0; i < count; i++) {
      query.at = batch.start(i);
      query.length = batch.length(i);
      query.sourceAt = batch.sourceStart(i);
      query.sourceLength = batch.sourceLength(i);
      const isOurs = this.#clients.has(memory, query.sourceAt, query.sourceLength);
      if (isOurs && this.#isLimited(i, nowMs)) continue;
      const answer = isOurs && !isLeft ? this.#responder.respond(memory, query, nowMs) : 0;
      if (answer > 0) {
        batch.answer(i, answer);
        this.#counts.answer(answer);
        answered++;
      } else {
        const handedQuery = this.#handOver(fd, i);
        if (handedQuery === undefined) this.#counts.drop();
        else (handed ??= []).push(handedQuery);
      }
    }
    const failed = batch.send(fd);
    this.#counts.batch(threadsClock.monotonicMs() - nowMs, answered, failed);
    if (handed !== undefined) this.#post({ kind: "queries", queries: packQueries(handed) });
  }

  // Above its client's rate: without an answer, or with one that says "over TCP".
  #isLimited(i: number, nowMs: number): boolean {
    const { memory } = this.#batch;
    const query = this.#query;
    const verdict = this.#rate.judge(memory, query.sourceAt, query.sourceLength, nowMs);
    if (verdict === "answer") return false;
    const answer = verdict === "slip" ? this.#responder.truncate(memory, query) : 0;
    if (answer > 0) this.#batch.answer(i, answer);
    this.#counts.limit(answer);
    return true;
  }

  // The octets still lie in the batch: they are packed before the next one.
  #handOver(fd: number, i: number): HandedQuery | undefined {
    const batch = this.#batch;
    if (batch.isCut(i)) return undefined;
    const [start, length] = [batch.sourceStart(i), batch.sourceLength(i)];
    // The address without the port: family and port are the first four octets.
    const hash = hashOctets(this.#start.seed, batch.memory, start + 4, start + length);
    const place = this.#control.enter(hash);
    if (place < 0) return undefined;
    return {
      fd,
      place,
      source: batch.memory.subarray(start, start + length),
      packet: batch.memory.subarray(batch.start(i), batch.start(i) + batch.length(i)),
    };
  }
}

invariant(parentPort !== null, "dns/packet-thread runs in a worker thread");
const start: PacketStart = workerData;
// It has work for microseconds, which the others must not let wait for milliseconds.
preferThisThread();
new PacketLoop(parentPort, start).run();
