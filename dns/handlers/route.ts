import { foldName, formatName, labelsWithin, type Name } from "../message/name.ts";
import type { Handler, Resolve } from "./resolver.ts";
import { stepOf } from "./trace.ts";

/** A domain, and who answers for all names in it. */
export interface Route {
  readonly domain: Name;
  readonly resolve: Resolve;
}

/** Leads a question to the most specific domain that the name is in; `next` has all others. */
export function routeHandler(routes: readonly Route[]): Handler {
  const longestFirst = routes
    .map(({ domain, resolve }) => ({ domain: foldName(domain), resolve }))
    .toSorted((a, b) => b.domain.length - a.domain.length);
  return (query, next) => {
    const name = foldName(query.question.name);
    const route = longestFirst.find(({ domain }) => labelsWithin(name, domain) !== undefined);
    if (route === undefined) return next(query);
    query.trace?.({ ...stepOf(query, "stub"), of: formatName(route.domain) });
    return route.resolve(query);
  };
}
