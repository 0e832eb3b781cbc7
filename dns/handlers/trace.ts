import type { Clock } from "../../core/clock.ts";
import { formatName, foldName } from "../message/name.ts";
import { rcodeText, typeText } from "../message/record-text.ts";
import { type Handler, type Query, whenSettled } from "./resolver.ts";

/** Who had a part in an answer. */
export type Source =
  | "search list"
  | "rewrite"
  | "network"
  | "zone"
  | "hosts"
  | "stub"
  | "special"
  | "cache"
  | "upstream";

/** One thing that was done for a query. Plain data. */
export interface TraceStep {
  readonly by: Source;
  readonly name: string;
  readonly type: string;
  /** It asked for this name next; absent: it answered. */
  readonly askedNext?: string;
  readonly rcode?: string;
  /** Why there was no answer. */
  readonly problem?: string;
  /** The upstream that was asked, or the stub's domain. */
  readonly of?: string;
  /** Until its answer. */
  readonly elapsedMs?: number;
  /** Of what the cache had: since it was stored. */
  readonly ageMs?: number;
  readonly isStale?: boolean;
}

/** Of a query that is to be explained: takes what is done for it, in its order. */
export type Trace = (step: TraceStep) => void;

export const stepOf = (
  { question }: Query,
  by: Source,
): Pick<TraceStep, "by" | "name" | "type"> => ({
  by,
  name: formatName(question.name),
  type: typeText(question.type),
});

/** The handler, which tells when it answers by itself, or asks for another name. */
export function traced(by: Source, handler: Handler, clock: Clock): Handler {
  return (query, next) => {
    const { trace } = query;
    if (trace === undefined) return handler(query, next);
    const startedAtMs = clock.monotonicMs();
    let hasAsked = false;
    const answer = handler(query, (inner) => {
      hasAsked = true;
      if (foldName(inner.question.name) !== foldName(query.question.name)) {
        trace({ ...stepOf(query, by), askedNext: formatName(inner.question.name) });
      }
      return next(inner);
    });
    return whenSettled(answer, (settled) => {
      if (!hasAsked) {
        const elapsedMs = clock.monotonicMs() - startedAtMs;
        trace({ ...stepOf(query, by), rcode: rcodeText(settled.rcode), elapsedMs });
      }
      return settled;
    });
  };
}
