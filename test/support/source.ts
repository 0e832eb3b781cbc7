// A source in the hands of a test.
import { emptySnapshot, type Node, type Snapshot } from "../../core/cluster/model.ts";
import type { Source, SourceState } from "../../daemon/source/source.ts";
import { aSnapshot } from "./builders.ts";

export interface FakeSource extends Source {
  /** What the cluster is from now on. */
  set(snapshot: Snapshot): void;
  setNodes(...nodes: readonly Node[]): void;
}

export function createFakeSource(): FakeSource {
  const listeners = new Set<(state: SourceState) => void>();
  let state: SourceState = { snapshot: emptySnapshot, problems: [] };
  const set = (snapshot: Snapshot): void => {
    state = { snapshot: { ...snapshot, revision: state.snapshot.revision + 1 }, problems: [] };
    for (const listener of listeners) listener(state);
  };
  return {
    kind: "file",
    location: "/test",
    state: () => state,
    subscribe: (listener) => {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
    set,
    setNodes: (...nodes) => set(aSnapshot({ nodes })),
    [Symbol.dispose]: () => listeners.clear(),
  };
}
