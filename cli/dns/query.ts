import { createConnection } from "node:net";
import { text } from "node:stream/consumers";
import { hasErrno } from "../../core/error.ts";
import { paths } from "../../core/paths.ts";
import type { DnsQueryReply, DnsQuestion } from "../../daemon/dns/dns-queries.ts";
import type { Explanation } from "../../dns/handlers/explain.ts";
import type { TraceStep } from "../../dns/handlers/trace.ts";
import type { CliContext } from "../context.ts";
import { requireRoot } from "../root.ts";
import { formatTable } from "../table.ts";

export interface QueryOptions {
  readonly type: string;
  readonly from?: string;
  readonly json?: boolean;
}

/** Upstreams have four seconds for each name of a walk. */
const deadlineMs = 15_000;

/** `fairlead dns query`: prints the answer and all that had a part in it. Fails when nobody can say. */
export async function query(
  name: string,
  { type, from, json = false }: QueryOptions,
  context: CliContext,
): Promise<void> {
  const question = { name, type, ...(from !== undefined && { from }) };
  const reply = await askDaemon(paths.dnsSocket, question, context.signal);
  if (reply.explanation === undefined) throw new Error(reply.problem ?? "The daemon said nothing");
  context.stdout(json ? `${JSON.stringify(reply, null, 2)}\n` : formatReply(reply));
}

async function askDaemon(
  path: string,
  question: DnsQuestion,
  signal: AbortSignal,
): Promise<DnsQueryReply> {
  const deadline = AbortSignal.timeout(deadlineMs);
  const socket = createConnection({ path });
  const stop = (): void => {
    socket.destroy(new Error(deadline.aborted ? `no answer in ${deadlineMs} ms` : "interrupted"));
  };
  const either = AbortSignal.any([deadline, signal]);
  either.addEventListener("abort", stop, { once: true });
  try {
    socket.write(`${JSON.stringify(question)}\n`);
    const reply: DnsQueryReply = JSON.parse(await text(socket));
    return reply;
  } catch (cause) {
    if (hasErrno(cause, "ENOENT", "ECONNREFUSED")) {
      throw new Error(
        `The daemon's resolver is not running: nobody listens at ${path} (fairlead status; dns.enabled)`,
        { cause },
      );
    }
    if (hasErrno(cause, "EACCES")) requireRoot("ask the daemon");
    throw new Error(`Cannot ask the daemon's resolver at ${path}`, { cause });
  } finally {
    either.removeEventListener("abort", stop);
    socket.destroy();
  }
}

/** For people. */
export function formatReply({ explanation, asker, problem }: DnsQueryReply): string {
  if (explanation === undefined) return `${problem ?? ""}\n`;
  const { name, type, rcode, elapsedMs, extendedError, mayAsk } = explanation;
  const pod = asker?.pod === undefined ? "no pod of this node" : `pod ${asker.pod}`;
  const who = asker === undefined ? "" : ` for ${asker.address} (${pod})`;
  const searched = asker?.searched === undefined ? "" : ", first of its search list";
  const code = extendedError === undefined ? "" : `, extended error ${extendedError}`;
  const refused = mayAsk
    ? ""
    : `This client gets REFUSED: it is in no network that may ask (dns.clients)\n`;
  const records = explanation.answers.length > 0 ? explanation.answers : explanation.authorities;
  return [
    `${name === "." ? "" : name}. ${type}${who}${searched}\n`,
    `${rcode} in ${formatMs(elapsedMs)}, ${whoseOf(explanation)}${code}\n`,
    refused,
    explanation.steps.length === 0
      ? ""
      : `\n${formatTable([headings, ...explanation.steps.map(rowOf)])}`,
    records.length === 0 ? "" : `\n${records.map((record) => `${record}\n`).join("")}`,
  ].join("");
}

// An answer may be ours by its first name alone: a search list, or a service, that leads to a name of others.
function whoseOf({ isAuthoritative, steps }: Explanation): string {
  if (!isAuthoritative) return "of others";
  const isOthers = steps.some(
    ({ by, rcode }) => (by === "upstream" || by === "cache") && rcode === "NOERROR",
  );
  return isOthers
    ? "of others, by way of a name of the cluster's"
    : "of the cluster's or the node's own knowledge";
}

const headings = ["BY", "NAME", "WHAT"];

const rowOf = (step: TraceStep): readonly string[] => [step.by, step.name, whatOf(step)];

function whatOf(step: TraceStep): string {
  const { askedNext, rcode, problem, of, elapsedMs, ageMs, isStale, by } = step;
  const parts = [
    ...(askedNext === undefined ? [] : [`asks for ${askedNext}`]),
    ...(of === undefined ? [] : [of]),
    ...(rcode === undefined ? [] : [problem === undefined ? rcode : `${rcode} (${problem})`]),
    ...(ageMs === undefined ? [] : [`kept for ${(ageMs / 1000).toFixed(1)} s`]),
    ...(isStale === true ? ["past its TTL"] : []),
    ...(by === "upstream" && elapsedMs !== undefined ? [`in ${formatMs(elapsedMs)}`] : []),
  ];
  return parts.join(", ");
}

const formatMs = (ms: number): string => `${ms.toFixed(1)} ms`;
