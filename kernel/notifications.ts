// What comes on a socket that has joined multicast groups, a little of it at a time.
import { onReadable } from "./ffi.ts";
import type { NetlinkSocket } from "./netlink.ts";
import type { Message } from "./received.ts";

/**
 * From the first notification to reading it: changes come several at once, a transaction has many, and
 * who has just changed something for somebody answers first.
 */
const gatherMs = 2;

/** Of who asks for all at once; what is left is read as ever. */
const drainsAtMost = 64;

export interface Notifications {
  /** Valid while it is handed over. */
  readonly onMessage: (message: Message) => void;
  /**
   * After some were read. `isLost`: others did not fit the socket's buffer. Told when all is read, for
   * until then the kernel goes on dropping: a comparison before would miss what is dropped after it.
   */
  readonly onRead: (isLost: boolean) => void;
}

export interface Reading extends Disposable {
  /** Leaves what comes in the socket's buffer until `release`. */
  hold(): void;
  release(): void;
  /** Reads at once what is there, held or not. */
  read(): void;
}

/** Reads all that came within two milliseconds at once. The socket is closed with it. */
export function readNotifications(
  socket: NetlinkSocket,
  { onMessage, onRead }: Notifications,
): Reading {
  let isLossUntold = false;
  let isHeld = false;
  let gathering: NodeJS.Timeout | undefined;
  const readAll = (): void => {
    gathering = undefined;
    const { isLost, isEmpty } = socket.drain(onMessage);
    isLossUntold ||= isLost;
    const isTold = isLossUntold && isEmpty;
    if (isTold) isLossUntold = false;
    if (!isHeld) polling.resume();
    onRead(isTold);
  };
  const readAtOnce = (): void => {
    clearTimeout(gathering);
    gathering = undefined;
    let isEmpty = false;
    for (let drains = 0; !isEmpty && drains < drainsAtMost; drains++) {
      const drained = socket.drain(onMessage);
      isLossUntold ||= drained.isLost;
      ({ isEmpty } = drained);
    }
    const isTold = isLossUntold && isEmpty;
    if (isTold) isLossUntold = false;
    if (!isHeld) polling.resume();
    onRead(isTold);
  };
  const polling = onReadable(socket.fd, () => {
    polling.pause();
    gathering = setTimeout(readAll, gatherMs);
  });
  return {
    hold: () => {
      isHeld = true;
      clearTimeout(gathering);
      gathering = undefined;
      polling.pause();
    },
    release: () => {
      if (isHeld) polling.resume();
      isHeld = false;
    },
    read: readAtOnce,
    [Symbol.dispose]: () => {
      polling[Symbol.dispose]();
      clearTimeout(gathering);
      socket[Symbol.dispose]();
    },
  };
}
