// Changes that a thread of Node's pool has the kernel make while the event loop goes on with what is to be done
// anyway: the making of a veth pair, while its lease and record are written.
import { KernelError } from "../core/error.ts";
import type { Change } from "../core/network.ts";
import { ChangeSender } from "./change-sender.ts";
import type { BegunChanges } from "./kernel.ts";
import type { NetlinkSocket } from "./netlink.ts";
import { waitToReceive } from "./unix-socket.ts";

/**
 * Usually all is done by then. To wait so costs nothing; a turn of the event loop, in which the pool's thread
 * says that it is done, some 50 µs. The kernel may be kept by others for longer, and the event loop is not.
 */
const patienceMs = 1;

export class ChangesBeside implements Disposable {
  readonly #lookups: NetlinkSocket;
  readonly #openSocket: () => NetlinkSocket;
  #socket: NetlinkSocket | undefined;
  #isBusy = false;
  #isDisposed = false;

  /**
   * @param lookups by which devices are found; it stays the caller's.
   * @param openSocket called once, when first needed. What it opens is closed with this.
   */
  constructor(lookups: NetlinkSocket, openSocket: () => NetlinkSocket) {
    this.#lookups = lookups;
    this.#openSocket = openSocket;
  }

  /** As Kernel.begin has it. */
  begin(changes: readonly Change[]): BegunChanges | undefined {
    if (this.#isDisposed) throw new KernelError("change the network", "EBADF");
    if (this.#isBusy) return undefined;
    const sender = new ChangeSender(this.#lookups);
    for (const change of changes) sender.add(change);
    const socket = (this.#socket ??= this.#openSocket());
    this.#isBusy = true;
    const begun = sender.begin(socket);
    // Who is not there to hear of a failure any more has had the kernel's answer.
    begun.written.catch(() => {});
    const settle = async (): Promise<void> => {
      try {
        if (!waitToReceive(socket.fd, patienceMs)) await begun.written;
        sender.finishBegun(begun);
      } finally {
        this.#isBusy = false;
        if (this.#isDisposed) socket[Symbol.dispose]();
      }
    };
    let settled: Promise<void> | undefined;
    const finish = (): Promise<void> => (settled ??= settle());
    return { finish, [Symbol.asyncDispose]: () => finish().catch(() => {}) };
  }

  /** What is under way is finished first: the pool's thread still uses the socket. */
  [Symbol.dispose](): void {
    this.#isDisposed = true;
    if (!this.#isBusy) this.#socket?.[Symbol.dispose]();
  }
}
