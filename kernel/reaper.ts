// Removes links by group, a few at a time, off the event loop. Each RTM_DELLINK waits 20 ms for the
// kernel's read-copy-update, and a hundred in one batch 2 s; a group of a hundred waits 38 ms in all.
import { KernelError, toError } from "../core/error.ts";
import type { IfName } from "../core/names.ts";
import { writeRemoveGroup, writeSetGroup } from "./link.ts";
import { MessageBatch } from "./message.ts";
import type { MessageFailure, NetlinkSocket } from "./netlink.ts";

/**
 * How many links go at once. While they are unregistered nobody else can change the network, an ADD
 * for one: 6 ms for ten, 15 ms for fifty.
 */
const largestGroup = 16;
/** Groups of links about to be removed: "fl" and a number. Nobody else uses them. */
const firstGroup = 0x666c_0000;
const groupCount = 0x1_0000;

interface Doomed {
  readonly device: IfName;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class Reaper implements Disposable {
  readonly #socket: NetlinkSocket;
  #queue: Doomed[] = [];
  #isBusy = false;
  #isDisposed = false;
  #groups = 0;

  /** The socket is the reaper's from now on. */
  constructor(socket: NetlinkSocket) {
    this.#socket = socket;
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
    if (!this.#isBusy) setImmediate(() => void this.#work());
    await Promise.all(gone);
  }

  /** What is under way is finished first: the thread pool still uses the socket. */
  [Symbol.dispose](): void {
    this.#isDisposed = true;
    if (!this.#isBusy) this.#socket[Symbol.dispose]();
    for (const { reject } of this.#queue) reject(new KernelError("remove links", "ECANCELED"));
    this.#queue = [];
  }

  async #work(): Promise<void> {
    if (this.#isBusy || this.#isDisposed) return;
    this.#isBusy = true;
    while (this.#queue.length > 0) {
      const group = this.#queue.splice(0, largestGroup);
      try {
        await this.#removeGroup(group.map(({ device }) => device));
        for (const { resolve } of group) resolve();
      } catch (thrown) {
        for (const { reject } of group) reject(toError(thrown));
      }
    }
    this.#isBusy = false;
    if (this.#isDisposed) this.#socket[Symbol.dispose]();
  }

  async #removeGroup(devices: readonly IfName[]): Promise<void> {
    const group = firstGroup + (this.#groups++ % groupCount);
    const batch = new MessageBatch();
    for (const device of devices) writeSetGroup(batch, device, group);
    throwFirst(this.#socket.send(batch), `put ${devices.join(", ")} in link group ${group}`);
    batch.clear();
    writeRemoveGroup(batch, group);
    throwFirst(await this.#socket.sendOffLoop(batch), `remove ${devices.join(", ")}`);
  }
}

/** ENODEV is no failure: the link, or every link of the group, is gone already. */
function throwFirst(failures: readonly MessageFailure[], operation: string): void {
  const first = failures.find(({ errno }) => errno !== "ENODEV");
  if (first !== undefined) throw new KernelError(operation, first.errno, first.kernelMessage);
}
