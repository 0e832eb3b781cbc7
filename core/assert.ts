/** A fact the code relies on. A failure is a bug in fairlead, never bad input. */
export function invariant(condition: boolean, fact: string): asserts condition {
  if (!condition) throw new Error(`Broken invariant: ${fact}`);
}

/** The unreachable end of an exhaustive switch: a new case in the union fails to compile here. */
export function assertNever(value: never): never {
  throw new Error(`Unexpected case: ${JSON.stringify(value)}`);
}
