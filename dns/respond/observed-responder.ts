// What is noted of each answer on its way out: how long it took, how large it is, and, of a share of them,
// a line in the log.
import type { Clock } from "../../core/clock.ts";
import type { Client } from "../handlers/resolver.ts";
import type { SharedTraffic } from "../observe/traffic.ts";
import type { QueryLog } from "./query-log.ts";
import type { Responder } from "./responder.ts";

export interface Observers {
  readonly traffic: SharedTraffic;
  /** Absent: no query is logged. */
  readonly queryLog?: QueryLog;
  readonly clock: Clock;
}

/** Answers as `respond` does. */
export function observedResponder(respond: Responder, observers: Observers): Responder {
  const { traffic, queryLog, clock } = observers;
  const note = (
    query: Uint8Array,
    client: Client,
    given: { readonly answer: Uint8Array | undefined; readonly startedAtMs: number },
  ): Uint8Array | undefined => {
    const { answer, startedAtMs } = given;
    if (answer === undefined) return undefined;
    const elapsedMs = clock.monotonicMs() - startedAtMs;
    traffic.count(client.transport, elapsedMs, answer.length);
    queryLog?.note({ query, answer, client, elapsedMs });
    return answer;
  };
  return (query, client) => {
    const startedAtMs = clock.monotonicMs();
    const answer = respond(query, client);
    return answer instanceof Promise
      ? answer.then((settled) => note(query, client, { answer: settled, startedAtMs }))
      : note(query, client, { answer, startedAtMs });
  };
}
