import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import { familyOf, type Ip } from "../../core/address.ts";
import type { SharedCounters } from "../observe/counters.ts";
import type { Responder } from "../respond/responder.ts";

export interface ListenOptions {
  readonly address: Ip;
  readonly port: number;
  readonly respond: Responder;
  readonly counters: SharedCounters;
  /** A UDP socket that is bound already, to be closed by the listener. */
  readonly fd?: number;
}

/** A bound listener. `failed` rejects when it stops working by itself, and never resolves. */
export interface Listener extends AsyncDisposable {
  readonly failed: Promise<never>;
  /** Its socket, where another process may have it too. */
  readonly fd?: number;
  /**
   * Takes no more queries, and answers those it has. What waits in the socket stays for another process
   * that has it. Without `fd` it goes on until disposed. Resolves when nothing comes any more, at the
   * latest after `mostMs`.
   */
  pause(mostMs: number): Promise<void>;
}

// A burst of a whole node's pods; the kernel's net.core.rmem_max cuts it down.
export const receiveBufferOctets = 4 << 20;

/** Answers on one address over UDP. Rejects when it cannot be bound. */
export async function listenUdp(options: ListenOptions): Promise<Listener> {
  const { address, port, respond, counters } = options;
  const family = familyOf(address) === 4 ? 4 : 6;
  const fd = options.fd ?? (family === 6 ? await tryBind(address, port) : undefined);
  const socket = createSocket({
    type: family === 4 ? "udp4" : "udp6",
    ipv6Only: family === 6,
    // A client's address is one already: saves a turn of the event loop for each answer.
    lookup: (host, _options, found) => found(null, host, family),
  });
  // Waited for from before: with an immediate lookup, bind tells its outcome before it returns.
  const listening = once(socket, "listening");
  socket.bind(fd === undefined ? { address, port, exclusive: true } : { fd });
  try {
    await listening;
  } catch (thrown) {
    socket.close();
    throw thrown;
  }
  const { promise: failed, reject } = Promise.withResolvers<never>();
  failed.catch(() => {});
  socket.on("error", reject);
  growReceiveBuffer(socket);
  const sent = (error: Error | null): void => {
    if (error) counters.add("errors");
  };
  const send = (answer: Uint8Array | undefined, client: RemoteInfo): void => {
    if (answer !== undefined) trySend(socket, answer, client, sent);
  };
  socket.on("message", (packet, client) => {
    const answer = respond(packet, { address: client.address, transport: "udp" });
    if (answer instanceof Promise) void answer.then((settled) => send(settled, client));
    else send(answer, client);
  });
  return {
    failed,
    pause: async () => {},
    async [Symbol.asyncDispose]() {
      const closed = once(socket, "close");
      socket.close();
      await closed;
    },
  };
}

// Undefined where there is no koffi: Node binds what an interface has, and of IPv6 nothing else.
async function tryBind(address: Ip, port: number): Promise<number | undefined> {
  const { bindUdp } = await import("../../kernel/udp-socket.ts").catch(() => noSockets);
  return bindUdp?.(address, port, receiveBufferOctets);
}

const noSockets = { bindUdp: undefined };

// A forwarded answer may come after the socket was closed, and a datagram may name port 0.
function trySend(
  socket: Socket,
  answer: Uint8Array,
  client: RemoteInfo,
  sent: (error: Error | null) => void,
): void {
  try {
    socket.send(answer, client.port, client.address, sent);
  } catch (thrown) {
    sent(thrown instanceof Error ? thrown : new Error(String(thrown)));
  }
}

function growReceiveBuffer(socket: Socket): void {
  try {
    socket.setRecvBufferSize(receiveBufferOctets);
  } catch {
    // The default serves too, only not as long a burst.
  }
}
