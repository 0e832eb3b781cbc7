// Changes by the thousand, written in Node's thread pool by a socket of their own: the kernel takes 3 to 5 µs
// for each, in which the event loop goes on, with the next ones to be written for example.
import { KernelError } from "../core/error.ts";
import { loopbackDevice } from "../core/names.ts";
import type { Change } from "../core/network.ts";
import { ChangeSender, indexOf } from "./change-sender.ts";
import type { NetlinkSocket } from "./netlink.ts";

export class OffLoopChanges implements Disposable {
  readonly #lookups: NetlinkSocket;
  readonly #openSocket: () => NetlinkSocket;
  /**
   * Of devices, by name, while something is under way: the kernel answers who asks for one when it is not
   * working on any change.
   */
  readonly #indexes = new Map<string, number>();
  #socket: NetlinkSocket | undefined;
  #last: Promise<void> = Promise.resolve();
  #underWay = 0;
  #isDisposed = false;

  /**
   * @param lookups by which devices are found; it stays the caller's.
   * @param openSocket called once, when first needed. What it opens is closed with this.
   */
  constructor(lookups: NetlinkSocket, openSocket: () => NetlinkSocket) {
    this.#lookups = lookups;
    this.#openSocket = openSocket;
  }

  /** By which notifications name the socket; undefined before it is needed. */
  get port(): number | undefined {
    return this.#socket?.port;
  }

  /** Calls are written in their order, one after the other. */
  async apply(changes: readonly Change[]): Promise<void> {
    if (this.#isDisposed) throw new KernelError("change the network", "EBADF");
    if (this.#underWay === 0) this.#indexes.clear();
    const sender = new ChangeSender(this.#lookups, this.#indexes);
    for (const change of changes) sender.add(change);
    const socket = (this.#socket ??= this.#open());
    this.#underWay++;
    const written = this.#last.then(() => sender.finishOffLoop(socket));
    this.#last = written.catch(() => {}).finally(() => this.#ended());
    await written;
  }

  /** What is under way is finished first: the thread pool still uses the socket. */
  [Symbol.dispose](): void {
    this.#isDisposed = true;
    if (this.#underWay === 0) this.#socket?.[Symbol.dispose]();
  }

  #open(): NetlinkSocket {
    const socket = this.#openSocket();
    // An answer, whatever it is, names the port, before anything that is written comes back.
    indexOf(socket, loopbackDevice);
    return socket;
  }

  #ended(): void {
    this.#underWay--;
    if (this.#isDisposed && this.#underWay === 0) this.#socket?.[Symbol.dispose]();
  }
}
