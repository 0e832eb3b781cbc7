import { FairShare } from "../clients/fair-share.ts";
import { ExtendedError, Rcode } from "../message/message.ts";
import type { SharedCounters } from "../observe/counters.ts";
import { failure, type Handler } from "./resolver.ts";

/** Of all clients, several of which may wait for the same question. */
const maxWaiting = 10_000;

/**
 * Lets no client have more than its share of the questions that wait for upstreams: who asks for more
 * gets SERVFAIL at once, and all others are answered as ever. The failure is none of the question's.
 */
export function clientShareHandler(maxPending: number, counters: SharedCounters): Handler {
  const share = new FairShare(maxWaiting, maxPending);
  return (query, next) => {
    const { address } = query.client;
    if (!share.enter(address)) {
      counters.add("rejected");
      return failure(Rcode.SERVFAIL, ExtendedError.other);
    }
    let isWaiting = false;
    try {
      const answer = next(query);
      if (!(answer instanceof Promise)) return answer;
      isWaiting = true;
      return answer.finally(() => share.leave(address));
    } finally {
      if (!isWaiting) share.leave(address);
    }
  };
}
