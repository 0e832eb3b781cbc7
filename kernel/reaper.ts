// Removes links by group, off the event loop. Each RTM_DELLINK waits some 15 ms for the kernel's
// read-copy-update, however many links it removes. It waits without holding the lock of the network's
// configuration, so that groups on several sockets wait at the same time: a hundred links go in 140 ms
// one group of 16 after another, in 80 ms on three sockets, and an ADD in between waits no longer.
import { KernelError, toError } from "../core/error.ts";
import { type IfName, removalGroups } from "../core/names.ts";
import { writeRemoveGroup, writeSetGroup } from "./link.ts";
import { batchOf } from "./message.ts";
import type { NetlinkSocket } from "./netlink.ts";

/**
 * How many links go at once. While they are unregistered nobody else can change the network, an ADD
 * for one: 6 ms for ten, 15 ms for fifty.
 */
const largestGroup = 16;
/** How many groups go at the same time. Each takes a thread of Node's pool, which has four. */
const laneLimit = 3;

interface Doomed {
  readonly device: IfName;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class Reaper implements Disposable {
  readonly #openSocket: () => NetlinkSocket;
  readonly #idle: NetlinkSocket[] = [];
  #busy = 0;
  #queue: Doomed[] = [];
  #isDisposed = false;
  #groups = 0;

  /** What it opens is the reaper's: one socket for each group that goes at the same time, when needed. */
  constructor(openSocket: () => NetlinkSocket) {
    this.#openSocket = openSocket;
  }

  /** Resolves when the kernel has removed all of them. What is not there is removed already. */
  async reap(devices: readonly IfName[]): Promise<void> {
    if (this.#isDisposed) throw new KernelError("remove links", "EBADF");
    const gone = devices.map(
      (device) =>
        new Promise<void>((resolve, reject) => {
          this.#queue.push({ device, resolve, reject });
        }),
    );
    // One turn later, so that calls of the same turn go together.
    setImmediate(() => this.#start());
    await Promise.all(gone);
  }

  /** What is under way is finished first: the thread pool still uses the sockets. */
  [Symbol.dispose](): void {
    this.#isDisposed = true;
    for (const socket of this.#idle.splice(0)) socket[Symbol.dispose]();
    for (const { reject } of this.#queue) reject(new KernelError("remove links", "ECANCELED"));
    this.#queue = [];
  }

  #start(): void {
    while (this.#queue.length > 0 && this.#busy < laneLimit) {
      const group = this.#queue.splice(0, largestGroup);
      this.#busy++;
      void this.#remove(group).finally(() => {
        this.#busy--;
        this.#start();
      });
    }
  }

  async #remove(group: readonly Doomed[]): Promise<void> {
    try {
      const socket = this.#idle.pop() ?? this.#openSocket();
      try {
        await this.#removeGroup(
          socket,
          group.map(({ device }) => device),
        );
      } finally {
        if (this.#isDisposed) socket[Symbol.dispose]();
        else this.#idle.push(socket);
      }
      for (const { resolve } of group) resolve();
    } catch (thrown) {
      for (const { reject } of group) reject(toError(thrown));
    }
  }

  async #removeGroup(socket: NetlinkSocket, devices: readonly IfName[]): Promise<void> {
    const group = removalGroups.first + (this.#groups++ % removalGroups.count);
    const failures = await socket.sendOffLoop(
      batchOf((batch) => {
        for (const device of devices) writeSetGroup(batch, device, group);
        writeRemoveGroup(batch, group);
      }),
    );
    // ENODEV is no failure: the link, or every link of the group, is gone already.
    const first = failures.find(({ errno }) => errno !== "ENODEV");
    if (first === undefined) return;
    throw new KernelError(
      `remove ${devices.join(", ")} as link group ${group}`,
      first.errno,
      first.kernelMessage,
    );
  }
}
