import { randomInt } from "node:crypto";
import { silentLog } from "../../core/log.ts";
import { type Answer, failure, type Query } from "../../dns/handlers/resolver.ts";
import type { Upstream } from "../../dns/handlers/settings.ts";
import { SharedCounters } from "../../dns/observe/counters.ts";
import { forwardHandler, type ForwardOptions } from "../../dns/upstream/forward.ts";
import { SharedUpstreamStats } from "../../dns/upstream/upstream-stats.ts";

const clock = { nowMs: () => Date.now(), monotonicMs: () => performance.now() };

export interface TestForwarder extends Disposable {
  readonly resolve: (query: Query) => Promise<Answer>;
  readonly counters: SharedCounters;
  readonly stats: SharedUpstreamStats;
}

/** The forwarder by itself. Disposed, it lets go of its connections. */
export function forwarder(
  upstreams: readonly Upstream[],
  more: Partial<ForwardOptions> = {},
): TestForwarder {
  const counters = new SharedCounters();
  const stats = new SharedUpstreamStats();
  const stop = new AbortController();
  const handler = forwardHandler({
    upstreams,
    clock,
    random: { below: (limit) => randomInt(limit) },
    counters,
    stats,
    log: silentLog,
    signal: stop.signal,
    ...more,
  });
  return {
    resolve: async (query) => handler(query, () => failure(99)),
    counters,
    stats,
    [Symbol.dispose]: () => stop.abort(),
  };
}

export const addressesOf = (answer: Answer): string[] =>
  answer.answers.map(({ data }) => (data.kind === "address" ? data.address : data.kind));

/** Waits for what a test expects, 30 s at most. */
export async function until(isSo: () => boolean, what: string): Promise<void> {
  const deadlineMs = performance.now() + 30_000;
  while (!isSo()) {
    if (performance.now() > deadlineMs) throw new Error(`Not within 30 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
