/**
 * What the daemon runs with, in its environment: a small nursery for young objects, because with V8's own of 16 MB
 * one large cluster's first plan leaves it with 30 MB more for ever, and a collector that it can call itself; few
 * arenas of malloc, which keep no more free memory at their ends than this. docs/decisions/0037.
 */
export const nodeOptions: readonly string[] = ["--max-semi-space-size=2", "--expose-gc"];
export const mallocSettings: readonly string[] = [
  "MALLOC_ARENA_MAX=2",
  "MALLOC_TRIM_THRESHOLD_=131072",
];
