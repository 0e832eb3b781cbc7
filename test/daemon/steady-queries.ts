// Run inside a node: asks the resolver at a steady rate over UDP and TCP, for names of the cluster and of
// outside (or, "plain", over UDP for one name of the cluster), until its input ends; then prints what became of it. It is the upstream too, and takes its time.
import { createSocket } from "node:dgram";
import { connect } from "node:net";
import { decodeMessage } from "../../dns/message/decode.ts";
import { encodeMessage } from "../../dns/message/encode.ts";
import { framed, queryOctets } from "../dns/wire-client.ts";
import { ip } from "../support/builders.ts";

export interface QueryFigures {
  readonly sent: number;
  readonly answered: number;
  /** Of those not answered: when they were sent, milliseconds from the start, and what happened. */
  readonly lost: readonly string[];
  /** Outside names for which the upstream, in this process, was too slow: a machine with too much to do. */
  readonly overloaded: number;
  /** The longest wait for an answer. */
  readonly slowestMs: number;
}

const [address = "", perSecond = "200", kind = "all"] = process.argv.slice(2);
const upstreamPort = 5355;
/** Longer than a stub resolver's 5 s, so that a busy machine decides nothing; nothing is asked twice. */
const patienceMs = 20_000;
const upstreamMs = 80;
/** The resolver gives up after several tries of a second each; what fails sooner fails by the resolver. */
const upstreamTriesMs = 1_500;

const upstream = createSocket("udp4");
upstream.on("message", (packet, client) => {
  const query = decodeMessage(packet);
  const [question] = query.questions;
  const answers = [
    { ...question!, ttl: 1, data: { kind: "address", address: ip("192.0.2.1") } as const },
  ];
  const answer = encodeMessage({ ...query, isResponse: true, answers });
  setTimeout(() => upstream.send(answer, client.port, client.address), upstreamMs);
});
upstream.bind(upstreamPort, "127.0.0.1");

const startedAtMs = performance.now();
let sent = 0;
let answered = 0;
let slowestMs = 0;
let overloaded = 0;
const lost: string[] = [];

async function ask(name: string, transport: "udp" | "tcp"): Promise<void> {
  const atMs = performance.now();
  sent++;
  const query = queryOctets(name, "A");
  const outcome = await (transport === "udp" ? askUdp(query) : askTcp(query));
  if (outcome === "answered") {
    answered++;
    slowestMs = Math.max(slowestMs, performance.now() - atMs);
  } else if (outcome === "rcode 2" && performance.now() - atMs > upstreamTriesMs) overloaded++;
  else lost.push(`${Math.round(atMs - startedAtMs)} ms ${transport} ${name}: ${outcome}`);
}

const rcodeOf = (answer: Uint8Array): string => {
  const rcode = (answer[3] ?? 0) & 0x0f;
  return rcode === 0 ? "answered" : `rcode ${rcode}`;
};

function askUdp(query: Buffer): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = createSocket("udp4");
  const late = setTimeout(() => resolve("no answer"), patienceMs);
  socket.on("error", ({ message }) => resolve(message));
  socket.on("message", (answer) => resolve(rcodeOf(answer)));
  socket.connect(53, address, () => socket.send(query));
  return promise.finally(() => {
    clearTimeout(late);
    socket.close();
  });
}

function askTcp(query: Buffer): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = connect({ host: address, port: 53, noDelay: true });
  const late = setTimeout(() => resolve("no answer"), patienceMs);
  socket.on("error", ({ message }) => resolve(message));
  socket.on("close", () => resolve("closed"));
  socket.on("data", (chunk) => resolve(rcodeOf((chunk as Buffer).subarray(2))));
  socket.write(framed(query));
  return promise.finally(() => {
    clearTimeout(late);
    socket.destroy();
  });
}

const asking: Promise<void>[] = [];
const everyMs = 40;
const atOnce = Math.max(1, Math.round((Number(perSecond) * everyMs) / 1000));
const inCluster = "kube-dns.kube-system.svc.cluster.local";
const timer = setInterval(() => {
  // As many as time has gone by for: a late timer makes up for it.
  const due = Math.round(((performance.now() - startedAtMs) / everyMs) * atOnce);
  while (asking.length < due) {
    const n = asking.length;
    const isPlain = kind === "plain";
    const name = n % 3 === 0 && !isPlain ? `n${n}.example.org` : inCluster;
    asking.push(ask(name, n % 10 === 0 && !isPlain ? "tcp" : "udp"));
  }
}, everyMs);
process.stdout.write("asking\n");
process.stdin.resume();
process.stdin.on("end", () => {
  clearInterval(timer);
  void Promise.all(asking).then(() => {
    const figures: QueryFigures = {
      sent,
      answered,
      lost: lost.slice(0, 20),
      overloaded,
      slowestMs,
    };
    process.stdout.write(`${JSON.stringify(figures)}\n`, () => process.exit());
  });
});
