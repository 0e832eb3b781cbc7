import { answerers, type PodTurns } from "../cluster/pod-turns.ts";
import type { Responder } from "./responder.ts";

/**
 * Answers by what was told of pods before, though its message is still waiting: `takeNews` takes what
 * waits. For the resolver's thread.
 */
export function afterNews(respond: Responder, turns: PodTurns, takeNews: () => void): Responder {
  let isAnswering = false;
  // What is answered in this turn is sent by then.
  const end = (): void => {
    isAnswering = false;
    turns.end(answerers.resolver);
  };
  return (packet, client) => {
    if (!isAnswering) {
      isAnswering = true;
      turns.begin(answerers.resolver);
      queueMicrotask(end);
    }
    if (turns.isBehind) takeNews();
    return respond(packet, client);
  };
}
