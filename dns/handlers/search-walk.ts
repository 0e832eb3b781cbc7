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
import { type Answer, type Handler, type Query, type Resolve } from "./resolver.ts";

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
    const go = (first: Answer): Answer | Promise<Answer> => {
      if (!isAbsent(first)) return first;
      const candidates = candidatesOf(name, path);
      if (candidates.length === 0) return first;
      const found = walk(query, candidates, next);
      if (!(found instanceof Promise)) return settle(found, first);
      return within(found, waitMs).then((settled) => settle(settled, first));
    };
    const settle = (found: Found | undefined, first: Answer): Answer => {
      if (found === undefined) return first;
      counters.add("searchWalks");
      return aliasTo(query, found, options.ttl);
    };
    const first = next(query);
    return first instanceof Promise ? first.then(go) : go(first);
  };
}

interface Found {
  readonly name: Name;
  readonly answer: Answer;
}

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

// The first that exists, of whatever type, so that A and AAAA lead to the same. Undefined: there is
// none, or it cannot be known.
function walk(
  query: Query,
  candidates: readonly Name[],
  next: Resolve,
): Found | undefined | Promise<Found | undefined> {
  for (const [i, name] of candidates.entries()) {
    const answer = next({ ...query, question: { ...query.question, name } });
    if (answer instanceof Promise) {
      return answer.then((settled) =>
        settled.rcode === Rcode.NXDOMAIN
          ? walk(query, candidates.slice(i + 1), next)
          : foundIn(name, settled),
      );
    }
    if (answer.rcode !== Rcode.NXDOMAIN) return foundIn(name, answer);
  }
  return undefined;
}

const foundIn = (name: Name, answer: Answer): Found | undefined =>
  answer.rcode === Rcode.NOERROR ? { name, answer } : undefined;

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
  return { ...answer, authoritative: true, answers: [alias, ...answer.answers] };
}
