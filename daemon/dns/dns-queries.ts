// Questions of `fairlead dns query`: one line of JSON each way on a socket of its own, for root.
import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { dirname } from "node:path";
import * as v from "valibot";
import { type Ip, parseIp } from "../../core/address.ts";
import { describeError } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import type { PodBook, PodEntry } from "../../dns/cluster/pod-book.ts";
import type { Explanation } from "../../dns/handlers/explain.ts";
import { knownTypes, parseType } from "../../dns/message/record-text.ts";
import type { DnsServer } from "../../dns/server.ts";

export interface DnsQuestion {
  readonly name: string;
  /** `A`, `TYPE65` … */
  readonly type: string;
  /** `namespace/name`, a name or an address; absent: the node itself. */
  readonly from?: string;
}

export interface DnsQueryReply {
  /** Absent where something is wrong with the question, or nobody can answer it. */
  readonly explanation?: Explanation;
  readonly asker?: Asker;
  readonly problem?: string;
}

export interface Asker {
  readonly address: Ip;
  /** `namespace/name`, of this node's pods; absent: none of them. */
  readonly pod?: string;
  /** What the pod's resolver makes of the name first; absent: it is asked as it is. */
  readonly searched?: string;
}

const questionSchema = v.object({
  name: v.string(),
  type: v.string(),
  from: v.exactOptional(v.string()),
});

export interface DnsQueriesOptions {
  readonly path: string;
  readonly server: Pick<DnsServer, "explain">;
  readonly book: Pick<PodBook, "entries">;
  /** The resolver's, which the node itself asks from. */
  readonly own: readonly Ip[];
  readonly log: Log;
}

/** A client that does not finish its question, or does not take the answer, within this time is cut off. */
const clientMs = 15_000;
const mostClients = 16;
const mostOctets = 4096;

/** Serves until disposed; only root may connect. */
export async function serveDnsQueries(options: DnsQueriesOptions): Promise<AsyncDisposable> {
  const { path, log } = options;
  const server = createServer((socket) => {
    socket.setTimeout(clientMs, () => socket.destroy());
    socket.on("error", (error) => log.debug({ problem: describeError(error) }, "DNS query client"));
    readLine(socket, (line) => {
      void answerTo(line, options).then((reply) => socket.end(`${JSON.stringify(reply)}\n`));
    });
  });
  server.maxConnections = mostClients;
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  rmSync(path, { force: true });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(path, resolve);
  await promise;
  chmodSync(path, 0o600);
  return {
    [Symbol.asyncDispose]: () => new Promise((closed) => server.close(() => closed())),
  };
}

function readLine(socket: Socket, take: (line: string) => void): void {
  let text = "";
  socket.setEncoding("utf8");
  const receive = (chunk: string): void => {
    text += chunk;
    const end = text.indexOf("\n");
    if (end < 0 && text.length <= mostOctets) return;
    socket.off("data", receive);
    if (end < 0) socket.destroy();
    else take(text.slice(0, end));
  };
  socket.on("data", receive);
}

async function answerTo(line: string, options: DnsQueriesOptions): Promise<DnsQueryReply> {
  try {
    return await explainTo(v.parse(questionSchema, JSON.parse(line)), options);
  } catch (thrown) {
    return { problem: describeError(thrown) };
  }
}

async function explainTo(
  { name, type: typeName, from }: DnsQuestion,
  { server, book, own }: DnsQueriesOptions,
): Promise<DnsQueryReply> {
  const type = parseType(typeName);
  if (type === undefined) {
    const known = knownTypes.join(", ");
    throw new Error(
      `Cannot ask for type "${typeName}": expected one of ${known}, or TYPE and a number`,
    );
  }
  const { address, pod } = askerOf(from, own, [...book.entries()]);
  const first = pod && firstSearched(name, pod);
  const explanation = await server.explain({ name: first ?? name, type, address });
  const asker = {
    address,
    ...(pod !== undefined && { pod: podText(pod) }),
    ...(first !== undefined && { searched: first }),
  };
  return { explanation, asker };
}

interface Found {
  readonly address: Ip;
  readonly pod?: PodEntry;
}

function askerOf(from: string | undefined, own: readonly Ip[], pods: readonly PodEntry[]): Found {
  if (from === undefined) {
    const [address] = own;
    if (address === undefined)
      throw new Error("Cannot ask: dns.addresses has no address; use --from");
    return { address };
  }
  const address = parseIp(from);
  if (address !== undefined) {
    const pod = pods.find(({ addresses }) => addresses.includes(address));
    return { address, ...(pod && { pod }) };
  }
  const isMeant = ({ pod, aliases }: PodEntry): boolean =>
    from.includes("/")
      ? pod !== undefined && `${pod.namespace}/${pod.name}` === from
      : pod?.name === from || aliases.includes(from);
  const found = pods.filter(isMeant);
  const [first, second] = found;
  const firstAddress = first?.addresses[0];
  if (first === undefined || firstAddress === undefined) {
    throw new Error(`Cannot ask as "${from}": no pod of this node has that name, ${listOf(pods)}`);
  }
  if (second !== undefined) {
    throw new Error(`Cannot ask as "${from}": several pods are called so, ${listOf(found)}`);
  }
  return { address: firstAddress, pod: first };
}

/** Of more, the first are enough to see what names look like. */
const mostListed = 20;

function listOf(pods: readonly PodEntry[]): string {
  if (pods.length === 0) return "and it has none";
  const names = pods
    .slice(0, mostListed)
    .map((pod) => `${podText(pod)} (${pod.addresses[0] ?? "?"})`);
  const more = pods.length > mostListed ? ` and ${pods.length - mostListed} more` : "";
  return `there are ${names.join(", ")}${more}`;
}

const podText = ({ pod, aliases, id }: PodEntry): string =>
  pod === undefined ? (aliases[0] ?? id) : `${pod.namespace}/${pod.name}`;

/** resolv.conf(5): a name with fewer dots than `ndots` is tried below the first domain first. */
function firstSearched(name: string, { search }: PodEntry): string | undefined {
  const [domain] = search?.domains ?? [];
  if (search === undefined || domain === undefined || name.endsWith(".")) return undefined;
  return name.split(".").length - 1 < search.ndots ? `${name}.${domain}` : undefined;
}
