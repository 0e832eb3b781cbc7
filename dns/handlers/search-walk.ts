import { setTimeout as delay } from "node:timers/promises";
import type { PodDirectory, SearchPath } from "../cluster/pod-directory.ts";
import { Rcode, RecordClass, RecordType, type ResourceRecord } from "../message/message.ts";
import {
  foldName,
  joinName,
  labelsOf,
  labelsWithin,
  type Name,
  nameOfLabels,
} from "../message/name.ts";
import type { SharedCounters } from "../observe/counters.ts";
import type { Answer, Handler, Query, Resolve, Reuse } from "./resolver.ts";

export interface SearchWalkOptions {
  readonly pods: Pick<PodDirectory, "searchPathOf">;
  /** Of the alias that leads to the name found, seconds. */
  readonly ttl: number;
  readonly counters: SharedCounters;
  /** How long a pod waits for the end of the walk before it has to go on by itself. */
  readonly waitMs?: number;
}

/**
 * Walks a pod's search list for it. A pod that means `www.example.com` asks for
 * `www.example.com.prod.svc.cluster.local` first, by its resolv.conf, then below each further domain,
 * and last for what it means: five questions and more of each type. Where the first does not exist, the
 * others are tried here in the same order, and the first that exists is the answer to the first
 * question, behind an alias. When none does, or none is found in time, the first question's own answer
 * is given, which is true, and the pod goes on itself.
 */
export function searchWalkHandler(options: SearchWalkOptions): Handler {
  const { pods, counters, waitMs = 1000 } = options;
  return (query, next) => {
    const { type, name } = query.question;
    if (type !== RecordType.A && type !== RecordType.AAAA) return next(query);
    const path = query.recursionDesired ? pods.searchPathOf(query.client.address) : undefined;
    if (path === undefined) return next(query);
    const go = (first: Answer, untilMs: number): Answer | Promise<Answer> => {
      if (!isAbsent(first)) return first;
      const candidates = candidatesOf(name, path);
      if (candidates.length === 0) return first;
      const end = walk(query, { candidates, untilMs }, next);
      if (!(end instanceof Promise)) return settle(end, first);
      return within(end, waitMs).then((settled) => settle(settled, first));
    };
    const settle = (end: End | undefined, first: Answer): Answer => {
      if (end === undefined) return first;
      const answer = end.found === undefined ? first : aliasTo(query, end.found, options.ttl);
      if (end.found !== undefined) counters.add("searchWalks");
      const reuse = reuseOf(name, path, end);
      return reuse === undefined ? answer : { ...answer, reuse };
    };
    const first = next(query);
    // What had to be waited for rests on what was true before.
    if (first instanceof Promise) return first.then((settled) => go(settled, never));
    return go(first, untilOf(first, name));
  };
}

interface Found {
  readonly name: Name;
  readonly answer: Answer;
}

/** Up to when, by the monotonic clock, all that was asked has the same answers: {@link never} if unknown. */
interface Known {
  readonly untilMs: number;
}

interface Way extends Known {
  readonly candidates: readonly Name[];
}

/** Of a walk; nothing found: the name exists nowhere. */
interface End extends Known {
  readonly found?: Found;
}

const never = -Infinity;

/** Of our own zone: whoever follows an ExternalName there has found something. */
const isAbsent = ({ rcode, authoritative, answers }: Answer): boolean =>
  rcode === Rcode.NXDOMAIN && authoritative && answers.length === 0;

/** What the pod asks next, in the spelling of its first question; none when that is not its first. */
export function candidatesOf(name: Name, { domains, ndots }: SearchPath): readonly Name[] {
  const [first, ...others] = domains;
  const front = first === undefined ? undefined : labelsWithin(foldName(name), first);
  if (front === undefined || front.length === 0) return [];
  const labels = labelsOf(name).slice(0, front.length);
  const below = others.flatMap((domain) => joinName(labels, domain) ?? []);
  // A name with more dots was tried as it is before.
  const itself = labels.length - 1 < ndots ? nameOfLabels(labels) : undefined;
  return itself === undefined ? below : [...below, itself];
}

// The first that exists, of whatever type, so that A and AAAA lead to the same. Undefined: it cannot be
// known.
function walk(query: Query, way: Way, next: Resolve): End | undefined | Promise<End | undefined> {
  let { untilMs } = way;
  for (const [i, name] of way.candidates.entries()) {
    const answer = next({ ...query, question: { ...query.question, name } });
    if (answer instanceof Promise) {
      const candidates = way.candidates.slice(i + 1);
      return answer.then((settled) =>
        settled.rcode === Rcode.NXDOMAIN
          ? walk(query, { candidates, untilMs: never }, next)
          : foundIn(name, settled, never),
      );
    }
    untilMs = Math.min(untilMs, untilOf(answer, name));
    if (answer.rcode !== Rcode.NXDOMAIN) return foundIn(name, answer, untilMs);
  }
  return { untilMs };
}

const foundIn = (name: Name, answer: Answer, untilMs: number): End | undefined =>
  answer.rcode === Rcode.NOERROR ? { found: { name, answer }, untilMs } : undefined;

// Not known of an answer on behalf of another question, and of a name that is missing below a service: one
// that is found may rest on a service, and the others on none.
function untilOf({ reuse, rcode }: Answer, name: Name): number {
  if (reuse === undefined || foldName(reuse.name) !== foldName(name)) return never;
  switch (reuse.kind) {
    case "absent":
      return Infinity;
    case "service":
      return rcode === Rcode.NOERROR ? Infinity : never;
    default:
      return reuse.untilMs;
  }
}

function reuseOf(name: Name, path: SearchPath, { found, untilMs }: End): Reuse | undefined {
  if (untilMs === never) return undefined;
  if (found === undefined) return { kind: "walked", name, path, untilMs };
  const { reuse } = found.answer;
  return reuse?.kind === "service" || reuse?.kind === "cached"
    ? { kind: "walked", name, path, found: reuse, untilMs }
    : undefined;
}

async function within<T>(work: Promise<T>, waitMs: number): Promise<T | undefined> {
  const waited = new AbortController();
  const { signal } = waited;
  const late = delay(waitMs, undefined, { signal }).catch(() => undefined);
  try {
    return await Promise.race([work, late]);
  } finally {
    waited.abort();
  }
}

function aliasTo({ question }: Query, { name, answer }: Found, ttl: number): Answer {
  const alias: ResourceRecord = {
    name: question.name,
    type: RecordType.CNAME,
    class: RecordClass.IN,
    ttl,
    data: { kind: "name", name },
  };
  const { reuse: _ofAnotherName, ...found } = answer;
  return { ...found, authoritative: true, answers: [alias, ...answer.answers] };
}
