// From one daemon to the next without a gap: the sockets that names are asked at. The next one connects,
// gets them, answers by itself, says so, and waits until the one before has gone.
import { chmodSync, closeSync, mkdirSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { hasErrno, toError } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import { receiveDescriptors, sendDescriptors } from "../../kernel/descriptor-passing.ts";
import { onReadable } from "../../kernel/ffi.ts";
import {
  connectTo,
  listenAt,
  receiveWaiting,
  sendWithoutWaiting,
} from "../../kernel/unix-socket.ts";

/** In front of what is sent, for versions to come. */
const greeting = "fairlead hand-over 1\n";
const readyWord = "ready\n";
/** For the one before to answer, which it does at once unless it hangs. */
const answerMs = 5_000;
/** A next one that says nothing for so long has failed. */
const readyMs = 60_000;

export interface HandOverOptions {
  readonly path: string;
  /** The descriptors to give; they stay open here. */
  readonly sockets: () => readonly number[];
  /** Another answers on them: time to go. */
  readonly onTaken: () => void;
  readonly log: Log;
}

/** Gives the sockets to a daemon that asks for them, until disposed. Only root may ask. */
export function serveHandOver(options: HandOverOptions): Disposable {
  const { path, log } = options;
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  rmSync(path, { force: true });
  const asking = new Set<Disposable>();
  const listening = listenAt({
    path,
    onConnection: (fd) => {
      // One at a time: whoever comes later asks in vain.
      if (asking.size > 0) closeSync(fd);
      else asking.add(new Asking(fd, options, (ended) => asking.delete(ended)));
    },
    onError: (err) => log.warn({ err }, "cannot be asked for the sockets"),
  });
  chmodSync(path, 0o600);
  return {
    [Symbol.dispose]: () => {
      listening[Symbol.dispose]();
      rmSync(path, { force: true });
      for (const one of asking) one[Symbol.dispose]();
    },
  };
}

/** Another daemon's connection, open until one of the two has gone. */
class Asking implements Disposable {
  readonly #fd: number;
  readonly #onEnd: (self: Asking) => void;
  readonly #polling: Disposable;
  readonly #late: NodeJS.Timeout;
  #isOpen = true;

  constructor(
    fd: number,
    { sockets, onTaken, log }: HandOverOptions,
    onEnd: (self: Asking) => void,
  ) {
    this.#fd = fd;
    this.#onEnd = onEnd;
    let isTaken = false;
    this.#late = setTimeout(() => this[Symbol.dispose](), readyMs);
    this.#polling = onReadable(fd, () => {
      const said = receiveWaiting(fd).toString();
      if (said === readyWord && !isTaken) {
        isTaken = true;
        clearTimeout(this.#late);
        // Not here, where promises do not go on.
        setImmediate(onTaken);
      } else if (said === "") setImmediate(() => this[Symbol.dispose]());
    });
    try {
      const given = sockets();
      sendDescriptors(fd, Buffer.from(greeting), given);
      log.info({ sockets: given.length }, "another daemon has asked for the sockets");
    } catch (thrown) {
      log.error({ err: toError(thrown) }, "cannot hand over the sockets");
      setImmediate(() => this[Symbol.dispose]());
    }
  }

  [Symbol.dispose](): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    clearTimeout(this.#late);
    this.#polling[Symbol.dispose]();
    closeSync(this.#fd);
    this.#onEnd(this);
  }
}

export interface TakenOver extends Disposable {
  /** Ours to close. */
  readonly fds: readonly number[];
  /** Tells the one before that it may go. */
  ready(): void;
}

/**
 * Asks the daemon that listens at the path for its sockets; undefined where there is none. Blocks for a
 * moment. Throws when it does not hand over. Disposed before `ready`, the one before stays.
 */
export function askForSockets(path: string): TakenOver | undefined {
  let fd: number;
  try {
    fd = connectTo(path, answerMs);
  } catch (thrown) {
    if (hasErrno(thrown, "ENOENT", "ECONNREFUSED")) return undefined;
    throw thrown;
  }
  try {
    const { data, fds } = receiveDescriptors(fd, 256);
    if (Buffer.from(data).toString() === greeting) {
      return {
        fds,
        ready: () => void sendWithoutWaiting(fd, Buffer.from(readyWord)),
        [Symbol.dispose]: () => closeSync(fd),
      };
    }
    for (const one of fds) closeSync(one);
  } catch (cause) {
    closeSync(fd);
    throw new Error("Cannot take over from the daemon that runs: stop it first", { cause });
  }
  closeSync(fd);
  throw new Error("Cannot take over from the daemon that runs, which hands over in another way");
}
