// A client that sends what it is told, octet for octet, and reads answers with dns-packet.
import { createSocket } from "node:dgram";
import { connect } from "node:net";
import judge from "dns-packet";
import { encodeMessage } from "../../dns/message/encode.ts";
import { type Edns, type Message, RecordType } from "../../dns/message/message.ts";
import { parseName } from "../../dns/message/name.ts";

export interface Target {
  readonly address: string;
  readonly port: number;
}

const types: Readonly<Record<string, number>> = { ...RecordType, HTTPS: 65 };

export interface QueryOptions {
  readonly id?: number;
  readonly class?: "IN" | "CH";
  readonly recursionDesired?: boolean;
  readonly edns?: Partial<Edns>;
}

export function queryMessage(name: string, type: string, options: QueryOptions = {}): Message {
  const { edns } = options;
  return {
    id: options.id ?? Math.floor(Math.random() * 0x1_0000),
    isResponse: false,
    opcode: 0,
    authoritative: false,
    truncated: false,
    recursionDesired: options.recursionDesired ?? true,
    recursionAvailable: false,
    authenticData: false,
    checkingDisabled: false,
    rcode: 0,
    questions: [
      {
        name: parseName(name)!,
        type: types[type] ?? Number(type),
        class: options.class === "CH" ? 3 : 1,
      },
    ],
    answers: [],
    authorities: [],
    additionals: [],
    ...(edns && { edns: { udpSize: 1232, version: 0, dnssecOk: false, options: [], ...edns } }),
  };
}

export const queryOctets = (name: string, type: string, options: QueryOptions = {}): Buffer =>
  Buffer.from(encodeMessage(queryMessage(name, type, options)));

/** The answer's octets, or undefined after `timeoutMs` of silence. */
export async function sendUdp(
  target: Target,
  packet: Uint8Array,
  timeoutMs = 3000,
): Promise<Buffer | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer | undefined>();
  const socket = createSocket(target.address.includes(":") ? "udp6" : "udp4");
  const timer = setTimeout(() => resolve(undefined), timeoutMs);
  socket.on("error", reject);
  // Connected: an answer from another address than asked never arrives.
  socket.on("message", resolve);
  socket.connect(target.port, target.address, () => socket.send(packet));
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    socket.close();
  }
}

export const framed = (...packets: readonly Uint8Array[]): Buffer =>
  Buffer.concat(
    packets.map((packet) => {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(packet.length);
      return Buffer.concat([length, packet]);
    }),
  );

export interface TcpOutcome {
  readonly answers: readonly Buffer[];
  readonly isClosed: boolean;
  readonly elapsedMs: number;
}

/** Writes the chunks one after the other; ends at `count` answers, at close, or at the timeout. */
export async function sendTcp(
  target: Target,
  chunks: readonly Uint8Array[],
  { count = 1, timeoutMs = 3000, localAddress = undefined as string | undefined } = {},
): Promise<TcpOutcome> {
  const startedAtMs = performance.now();
  const answers: Buffer[] = [];
  let rest = Buffer.alloc(0);
  let isClosed = false;
  const { promise, resolve } = Promise.withResolvers<void>();
  const socket = connect({
    host: target.address,
    port: target.port,
    noDelay: true,
    ...(localAddress && { localAddress }),
  });
  const timer = setTimeout(resolve, timeoutMs);
  socket.on("error", () => {});
  socket.on("close", () => {
    isClosed = true;
    resolve();
  });
  socket.on("data", (chunk) => {
    rest = Buffer.concat([rest, chunk as Buffer]);
    while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
      const end = 2 + rest.readUInt16BE(0);
      answers.push(rest.subarray(2, end));
      rest = rest.subarray(end);
    }
    if (answers.length >= count) resolve();
  });
  for (const chunk of chunks) {
    await new Promise((written) => socket.write(chunk, written));
  }
  await promise;
  clearTimeout(timer);
  socket.destroy();
  return { answers, isClosed, elapsedMs: performance.now() - startedAtMs };
}

export interface Judged {
  readonly rcode: string;
  readonly isAuthoritative: boolean;
  readonly isTruncated: boolean;
  readonly answers: readonly string[];
  readonly authorities: readonly string[];
  readonly additionals: readonly string[];
  readonly ttls: readonly number[];
  readonly hasOpt: boolean;
  /** RFC 8914 INFO-CODE. */
  readonly extendedError: number | undefined;
}

/** What dns-packet reads: records as `A 10.96.1.1`, `SRV 80 web.prod.svc.cluster.local`. */
export function judged(octets: Uint8Array): Judged {
  const packet = judge.decode(Buffer.from(octets));
  const opt = packet.additionals?.find((record) => record.type === "OPT");
  const options = opt !== undefined && "options" in opt ? (opt.options as JudgedOption[]) : [];
  const ede = options.find(({ code }) => code === 15);
  return {
    rcode: "rcode" in packet ? String(packet.rcode) : "",
    isAuthoritative: packet.flag_aa,
    isTruncated: packet.flag_tc,
    answers: (packet.answers ?? []).map(textOf),
    authorities: (packet.authorities ?? []).map(textOf),
    additionals: (packet.additionals ?? []).filter(({ type }) => type !== "OPT").map(textOf),
    ttls: (packet.answers ?? []).map((answer) => ("ttl" in answer ? (answer.ttl ?? 0) : 0)),
    hasOpt: opt !== undefined,
    extendedError: ede?.data.readUInt16BE(0),
  };
}

interface JudgedOption {
  readonly code: number;
  readonly data: Buffer;
}

function textOf(answer: judge.Answer): string {
  switch (answer.type) {
    case "SRV":
      return `SRV ${answer.data.port} ${answer.data.target}`;
    case "SOA":
      return "SOA";
    case "TXT":
      return `TXT ${[answer.data].flat().map(String).join("")}`;
    case "A":
    case "AAAA":
    case "CNAME":
    case "PTR":
    case "NS":
      return `${answer.type} ${answer.data}`;
    default:
      return answer.type;
  }
}
