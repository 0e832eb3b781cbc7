/**
 * A bound on what clients have under way. None may have more than is left for the others: however many take
 * all that they can get, there is room for who takes little.
 */
export class FairShare {
  readonly #most: number;
  readonly #mostOfOne: number;
  /** Only of those who have something. */
  readonly #held = new Map<string, number>();
  #all = 0;

  constructor(most: number, mostOfOne = most) {
    this.#most = most;
    this.#mostOfOne = mostOfOne;
  }

  /** Whether the client may have one more; it has it then, until {@link leave}. */
  enter(client: string): boolean {
    const held = this.#held.get(client) ?? 0;
    if (held >= Math.min(this.#mostOfOne, this.#most - this.#all)) return false;
    this.#held.set(client, held + 1);
    this.#all++;
    return true;
  }

  leave(client: string): void {
    const left = (this.#held.get(client) ?? 0) - 1;
    this.#all--;
    if (left > 0) this.#held.set(client, left);
    else this.#held.delete(client);
  }
}
