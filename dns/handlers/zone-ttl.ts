// TTLs that the site sets for domains of its choice.
import { foldName, labelsWithin, type Name } from "../message/name.ts";
import { type Answer, type Handler, whenSettled } from "./resolver.ts";
import type { ZoneTtl } from "./settings.ts";

/** The seconds set for the most specific domain that the name, folded, is in. */
export function ttlLookup(ttls: readonly ZoneTtl[]): (name: Name) => number | undefined {
  const longestFirst = ttls
    .map(({ domain, seconds }) => ({ domain: foldName(domain), seconds }))
    .toSorted((a, b) => b.domain.length - a.domain.length);
  if (longestFirst.length === 0) return () => undefined;
  return (name) =>
    longestFirst.find(({ domain }) => labelsWithin(name, domain) !== undefined)?.seconds;
}

/** Before the cache has them, upstreams' answers are cut down to what is set for the name asked. */
export function ttlHandler(ttls: readonly ZoneTtl[]): Handler {
  const ttlOf = ttlLookup(ttls);
  if (ttls.length === 0) return (query, next) => next(query);
  return (query, next) => {
    const most = ttlOf(foldName(query.question.name));
    return most === undefined
      ? next(query)
      : whenSettled(next(query), (answer) => withTtlUpTo(answer, most));
  };
}

function withTtlUpTo(answer: Answer, most: number): Answer {
  const cut = (records: Answer["answers"]): Answer["answers"] =>
    records.map((record) => ({ ...record, ttl: Math.min(record.ttl, most) }));
  return { ...answer, answers: cut(answer.answers), authorities: cut(answer.authorities) };
}
