/** What was missed at one look and at every later one, for long enough. Pure. */
export class Absence {
  readonly #graceMs: number;
  #since = new Map<string, number>();

  constructor(graceMs: number) {
    this.#graceMs = graceMs;
  }

  /**
   * Of what is missing now, that which has been for the grace: never what is missed for the first time,
   * unless the grace is 0. What is not among `missing` begins anew.
   */
  lasting(missing: readonly string[], nowMs: number): ReadonlySet<string> {
    const known = this.#since;
    this.#since = new Map(missing.map((key) => [key, known.get(key) ?? nowMs]));
    return new Set(
      missing.filter((key) => nowMs - (this.#since.get(key) ?? nowMs) >= this.#graceMs),
    );
  }
}
