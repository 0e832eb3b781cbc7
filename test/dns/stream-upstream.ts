// An upstream over TCP or TLS that shows its connections: what came in which, and answers when a test says.
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { FrameReader } from "../../dns/message/tcp-frame.ts";
import { decodeMessage } from "../../dns/message/decode.ts";
import { encodeMessage } from "../../dns/message/encode.ts";
import type { Message } from "../../dns/message/message.ts";
import { formatName } from "../../dns/message/name.ts";
import { framed } from "./wire-client.ts";

export interface StreamAsked {
  readonly query: Message;
  readonly name: string;
  /** Counted from 0. */
  readonly connection: number;
  answer(message: Message): void;
  /** Ends the connection without an answer. */
  hangUp(): void;
}

export interface StreamUpstream extends AsyncDisposable {
  readonly port: number;
  readonly asked: readonly StreamAsked[];
  /** How many were opened since the start. */
  connections(): number;
  open(): number;
  /** The names that clients asked for by SNI; undefined without TLS. */
  readonly serverNames: readonly (string | false | undefined)[];
}

export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

export async function startStreamUpstream(
  script: (asked: StreamAsked) => void,
  options: { readonly address?: string; readonly port?: number; readonly tls?: Certificate } = {},
): Promise<StreamUpstream> {
  const { address = "127.0.0.1", port = 0, tls } = options;
  const asked: StreamAsked[] = [];
  const serverNames: (string | false | undefined)[] = [];
  const open = new Set<Socket>();
  let opened = 0;
  const serve = (socket: Socket): void => {
    const connection = opened++;
    serverNames.push("servername" in socket ? (socket.servername as string | false) : undefined);
    open.add(socket);
    const frames = new FrameReader();
    socket.on("error", () => {});
    socket.on("close", () => open.delete(socket));
    socket.on("data", (chunk) => {
      for (const packet of frames.push(chunk)) {
        const query = decodeMessage(packet);
        const one: StreamAsked = {
          query,
          name: formatName(query.questions[0]!.name),
          connection,
          answer: (message) => void socket.write(framed(encodeMessage(message))),
          hangUp: () => socket.destroy(),
        };
        asked.push(one);
        script(one);
      }
    });
  };
  const server: Server = tls === undefined ? createServer(serve) : createTlsServer(tls, serve);
  server.on("tlsClientError", () => {});
  server.listen(port, address);
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    asked,
    serverNames,
    connections: () => opened,
    open: () => open.size,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
