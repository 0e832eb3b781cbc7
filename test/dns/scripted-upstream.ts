// An upstream on loopback that does what a test tells it, over UDP and TCP.
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import { hasErrno } from "../../core/error.ts";
import type { Upstream } from "../../dns/handlers/settings.ts";
import { decodeMessage } from "../../dns/message/decode.ts";
import { encodeMessage } from "../../dns/message/encode.ts";
import {
  type Message,
  type RecordData,
  RecordType,
  type ResourceRecord,
} from "../../dns/message/message.ts";
import { foldName, formatName, parseName } from "../../dns/message/name.ts";
import { ip } from "../support/builders.ts";
import { framed } from "./wire-client.ts";

export interface Asked {
  readonly query: Message;
  readonly name: string;
  readonly transport: "udp" | "tcp";
  readonly sourcePort: number;
}

export interface Script {
  /** Octets to send, or a message; several, or none. */
  (
    asked: Asked,
    upstream: ScriptedUpstream,
    client: RemoteInfo | undefined,
  ): readonly (Message | Uint8Array)[];
}

export interface ScriptedUpstream extends AsyncDisposable {
  readonly upstream: Upstream;
  /** All that it was asked, in order. */
  readonly asked: readonly Asked[];
  readonly udp: Socket;
}

const asOctets = (reply: Message | Uint8Array): Uint8Array =>
  reply instanceof Uint8Array ? reply : encodeMessage(reply);

export async function startUpstream(
  script: Script,
  address = "127.0.0.1",
): Promise<ScriptedUpstream> {
  const tcp = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      const packet = (chunk as Buffer).subarray(2);
      const asked = record(packet, "tcp", socket.remotePort ?? 0);
      for (const reply of script(asked, self, undefined)) socket.write(framed(asOctets(reply)));
    });
  });
  const asked: Asked[] = [];
  const record = (packet: Uint8Array, transport: "udp" | "tcp", sourcePort: number): Asked => {
    const query = decodeMessage(packet);
    const entry = { query, name: formatName(query.questions[0]!.name), transport, sourcePort };
    asked.push(entry);
    return entry;
  };
  const { udp, port } = await bindBoth(tcp, address);
  udp.on("message", (packet, client) => {
    for (const reply of script(record(packet, "udp", client.port), self, client)) {
      udp.send(asOctets(reply), client.port, client.address);
    }
  });
  const self: ScriptedUpstream = {
    upstream: { address: ip(address), port },
    asked,
    udp,
    async [Symbol.asyncDispose]() {
      udp.close();
      tcp.close();
    },
  };
  return self;
}

// The kernel chooses a port that is free for TCP, where connections of others may hold it; UDP's may be
// taken all the same.
async function bindBoth(tcp: Server, address: string): Promise<{ udp: Socket; port: number }> {
  for (let attempt = 0; ; attempt++) {
    tcp.listen(0, address);
    await once(tcp, "listening");
    const { port } = tcp.address() as AddressInfo;
    const udp = createSocket("udp4");
    try {
      udp.bind({ address, port });
      await once(udp, "listening");
      return { udp, port };
    } catch (error) {
      udp.close();
      tcp.close();
      await once(tcp, "close");
      if (!hasErrno(error, "EADDRINUSE") || attempt === mostAttempts) throw error;
    }
  }
}

const mostAttempts = 20;

const record = (name: string, type: number, ttl: number, data: RecordData): ResourceRecord => ({
  name: parseName(name)!,
  type,
  class: 1,
  ttl,
  data,
});
export const a = (name: string, address: string, ttl = 300): ResourceRecord =>
  record(name, RecordType.A, ttl, { kind: "address", address: ip(address) });
export const aaaa = (name: string, address: string, ttl = 300): ResourceRecord =>
  record(name, RecordType.AAAA, ttl, { kind: "address", address: ip(address) });
export const cname = (name: string, target: string): ResourceRecord =>
  record(name, RecordType.CNAME, 300, { kind: "name", name: parseName(target)! });
export const soa = (name: string): ResourceRecord =>
  record(name, RecordType.SOA, 900, {
    kind: "soa",
    primary: parseName(name)!,
    mailbox: parseName(name)!,
    serial: 1,
    refresh: 1,
    retry: 1,
    expire: 1,
    minimum: 60,
  });

export const reply = (query: Message, more: Partial<Message> = {}): Message => ({
  ...query,
  isResponse: true,
  recursionAvailable: true,
  ...more,
});

const world: readonly ResourceRecord[] = [
  a("api.example.com", "192.0.2.53"),
  aaaa("api.example.com", "2001:db8::53"),
  a("v4only.example.com", "192.0.2.54"),
  cname("c1.example.com", "c2.example.com"),
  cname("c2.example.com", "api.example.com"),
];

/** The outside world of the cases: api, v4only, c1 → c2 → api; all else does not exist. */
export const exampleWorld: Script = ({ query }) => {
  const [question] = query.questions;
  const answers: ResourceRecord[] = [];
  let name = foldName(question!.name);
  for (let links = 0; links < 4; links++) {
    const there = world.filter((entry) => entry.name === name);
    const wanted = there.filter(({ type }) => type === question!.type);
    const link = there.find(({ type }) => type === RecordType.CNAME);
    answers.push(...(wanted.length > 0 ? wanted : link ? [link] : []));
    if (wanted.length > 0) return [reply(query, { answers })];
    if (link?.data.kind !== "name") {
      const rcode = there.length > 0 ? 0 : 3;
      return [reply(query, { rcode, answers, authorities: [soa("example.com")] })];
    }
    name = link.data.name;
  }
  return [];
};
