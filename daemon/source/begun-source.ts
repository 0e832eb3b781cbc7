import type { Snapshot } from "../../core/cluster/model.ts";
import type { Clock } from "../../core/clock.ts";
import type { Source, SourceState } from "./source.ts";

/** A source that has not found this node's place by then has something to say of its own. */
const mostMs = 30_000;

/** The source, for those who answer names: until it is complete, what was read of the cluster before. */
export function begunSource(source: Source, before: Snapshot, clock: Clock): Source {
  const untilMs = clock.monotonicMs() + mostMs;
  const shown = (state: SourceState): SourceState =>
    state.snapshot.isInSync || clock.monotonicMs() > untilMs
      ? state
      : { ...state, snapshot: before };
  return {
    kind: source.kind,
    location: source.location,
    state: () => shown(source.state()),
    subscribe: (listener) => source.subscribe((state) => listener(shown(state))),
    [Symbol.dispose]: () => source[Symbol.dispose](),
  };
}
