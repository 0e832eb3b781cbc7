import { ExtendedError, Rcode } from "../message/message.ts";
import { failure, type Handler } from "./resolver.ts";

/**
 * Lets no client have more than its share of the questions that wait for upstreams: who asks for more
 * gets SERVFAIL at once, and all others are answered as ever. The failure is none of the question's.
 */
export function clientShareHandler(maxPending: number): Handler {
  /** Only of clients that wait: as many as may wait at all. */
  const pending = new Map<string, number>();
  const leave = (address: string): void => {
    const left = (pending.get(address) ?? 0) - 1;
    if (left > 0) pending.set(address, left);
    else pending.delete(address);
  };
  return (query, next) => {
    const { address } = query.client;
    const count = pending.get(address) ?? 0;
    if (count >= maxPending) return failure(Rcode.SERVFAIL, ExtendedError.other);
    const answer = next(query);
    if (!(answer instanceof Promise)) return answer;
    pending.set(address, count + 1);
    return answer.finally(() => leave(address));
  };
}
