import type { Random } from "../../core/clock.ts";
import type { SearchPath } from "../cluster/pod-directory.ts";
import type { Zone, ZoneAnswer } from "../cluster/zone.ts";
import {
  ExtendedError,
  type Question,
  Rcode,
  RecordClass,
  type RecordData,
  RecordType,
  type ResourceRecord,
} from "../message/message.ts";
import { foldName, type Name } from "../message/name.ts";
import type { Trace } from "./trace.ts";

/** Who asks. */
export interface Client {
  /** The textual address, as the socket gives it: a link-local one has its device behind a "%". */
  readonly address: string;
  readonly transport: "udp" | "tcp";
}

export interface Query {
  readonly client: Client;
  /** Of class IN, and not of a type that is about the message or a transfer. */
  readonly question: Question;
  readonly recursionDesired: boolean;
  readonly checkingDisabled: boolean;
  readonly dnssecOk: boolean;
  /** It is to be explained, and told what is done for it. */
  readonly trace?: Trace;
}

export interface Answer {
  readonly rcode: number;
  readonly authoritative: boolean;
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  readonly additionals: readonly ResourceRecord[];
  /** RFC 8914 INFO-CODE; sent when the query has EDNS. */
  readonly extendedError?: number;
  /** It may be given again, whoever asks. Absent: it may not. */
  readonly reuse?: Reuse;
}

/** To which name an answer may be given again, and for how long. */
export type Reuse =
  /** Until the service changes. */
  | { readonly kind: "service"; readonly name: Name; readonly service: Name }
  /** The zone's answer to names that are missing: until the cluster has a name more. */
  | { readonly kind: "absent"; readonly name: Name }
  /** Milliseconds of the monotonic clock: until then, and when its TTL ends. */
  | {
      readonly kind: "cached";
      readonly name: Name;
      readonly untilMs: number;
      readonly endMs: number;
    }
  /** To whoever has this search list: as long as what was found may be, and until what was not is there. */
  | {
      readonly kind: "walked";
      readonly name: Name;
      readonly path: SearchPath;
      /** Absent: there is no such name below any domain of the list. */
      readonly found?: Extract<Reuse, { kind: "service" | "cached" }>;
      /** As of "cached", of all steps. */
      readonly untilMs: number;
    };

/** At once where nothing has to be waited for: most answers cost no turn of the event loop. */
export type Eventually<T> = T | Promise<T>;
export type Resolve = (query: Query) => Eventually<Answer>;
/** Answers, or leaves it to `next`, also for another question. */
export type Handler = (query: Query, next: Resolve) => Eventually<Answer>;

/** Goes on with what is there, or will be. */
export const whenSettled = <T, R>(value: Eventually<T>, go: (settled: T) => R): Eventually<R> =>
  value instanceof Promise ? value.then(go) : go(value);

/** The handlers in their order. The last one gets no further: it must answer. */
export function chain(handlers: readonly Handler[]): Resolve {
  const refuse: Resolve = () => failure(Rcode.REFUSED, ExtendedError.notAuthoritative);
  return handlers.reduceRight<Resolve>((next, handler) => (query) => handler(query, next), refuse);
}

export const failure = (rcode: number, extendedError?: number): Answer => ({
  rcode,
  authoritative: false,
  answers: [],
  authorities: [],
  additionals: [],
  ...(extendedError !== undefined && { extendedError }),
});

/** An answer of our own knowledge. */
export const authoritative = (
  rcode: number,
  answers: readonly ResourceRecord[],
  authorities: readonly ResourceRecord[] = [],
): Answer => ({ rcode, authoritative: true, answers, authorities, additionals: [] });

/** The longest chain of CNAMEs that is followed. */
const maxLinks = 8;

/**
 * Answers from the cluster's zone. An ExternalName is followed here: within the zone, or by `next`
 * when it leads outside. What the zone does not hold is left to `next`.
 */
export function zoneHandler(zone: Zone, random: Random): Handler {
  const follow = (
    query: Query,
    links: readonly ResourceRecord[],
    next: Resolve,
  ): Eventually<Answer> => {
    const found = zone.lookup(query.question, random);
    switch (found.kind) {
      case "alias": {
        const chained = [...links, found.record];
        const { type } = query.question;
        if (type === RecordType.CNAME || type === RecordType.ANY) {
          return authoritative(Rcode.NOERROR, chained);
        }
        // A loop is a mistake in the cluster: "no such address" would hide it.
        if (chained.length > maxLinks || isLoop(chained, found.target)) {
          return failure(Rcode.SERVFAIL, ExtendedError.other);
        }
        return follow(withName(query, found.target), chained, next);
      }
      case "outside":
        return links.length === 0 ? next(query) : followOutside(query, links, next);
      default:
        return { ...zoneAnswer(found, links), ...reuseOf(query.question.name, found) };
    }
  };
  return (query, next) => follow(query, [], next);
}

// RFC 6604: the rcode is that of the last name of the chain.
function zoneAnswer(
  found: Exclude<ZoneAnswer, { kind: "alias" | "outside" }>,
  links: readonly ResourceRecord[],
): Answer {
  switch (found.kind) {
    case "records": {
      const answer = authoritative(Rcode.NOERROR, [...links, ...found.answers]);
      return { ...answer, additionals: found.additionals };
    }
    case "nodata":
      return authoritative(Rcode.NOERROR, links, [found.soa]);
    case "nxdomain":
      return authoritative(Rcode.NXDOMAIN, links, [found.soa]);
    case "unready":
      return failure(Rcode.SERVFAIL, ExtendedError.notReady);
  }
}

// For the name at which it was found: at the start of a chain of CNAMEs stands another.
function reuseOf(name: Name, found: ZoneAnswer): { readonly reuse?: Reuse } {
  if (found.kind !== "records" && found.kind !== "nodata" && found.kind !== "nxdomain") return {};
  if (found.service !== undefined) {
    return { reuse: { kind: "service", name, service: found.service } };
  }
  return found.kind === "nxdomain" ? { reuse: { kind: "absent", name } } : {};
}

function followOutside(
  query: Query,
  links: readonly ResourceRecord[],
  next: Resolve,
): Eventually<Answer> {
  if (!query.recursionDesired) return authoritative(Rcode.NOERROR, links);
  return whenSettled(next(query), (answer) => joinAnswer(links, answer));
}

function joinAnswer(links: readonly ResourceRecord[], target: Answer): Answer {
  if (target.rcode !== Rcode.NOERROR && target.rcode !== Rcode.NXDOMAIN) {
    // "No address" would be untrue: it could not be found out.
    return failure(Rcode.SERVFAIL, target.extendedError);
  }
  return { ...target, authoritative: true, answers: [...links, ...target.answers] };
}

const withName = (query: Query, name: Name): Query => ({
  ...query,
  question: { ...query.question, name },
});

const isLoop = (links: readonly ResourceRecord[], target: Name): boolean =>
  links.some(({ name }) => foldName(name) === foldName(target));

/** A negative answer's SOA for a small zone that only exists here. */
export function emptyZoneSoa(zone: Name, ttl: number): ResourceRecord {
  const data: RecordData = {
    kind: "soa",
    primary: zone,
    mailbox: zone,
    serial: 1,
    refresh: 7200,
    retry: 1800,
    expire: 86_400,
    minimum: ttl,
  };
  return { name: zone, type: RecordType.SOA, class: RecordClass.IN, ttl, data };
}
