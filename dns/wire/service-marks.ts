/** In place of a mark: there is no such name. */
export const none = 0;

/**
 * Which services and namespaces there are, as hashes of their names, and for each a mark that changes
 * when it does. Two names with one hash share a mark: then more is asked of the zone than need be, and
 * nothing is said to be missing that is there. Open addressing, no more than half full.
 */
export class ServiceMarks {
  /** Hash and mark, hash and mark: looked at together. */
  #places: Int32Array = new Int32Array(2 * 64);
  /** Places that are taken, also by what is gone. */
  #taken = 0;

  /** The mark of the name, or 0 when there is none of that hash. */
  get(hash: number): number {
    const places = this.#places;
    const last = places.length / 2 - 1;
    for (let place = hash & last; ; place = (place + 1) & last) {
      const mark = places[2 * place + 1] ?? none;
      if (mark === none) return none;
      if (places[2 * place] === hash) return mark > none ? mark : none;
    }
  }

  /** A mark from 1 on; 0: it is gone. */
  set(hash: number, mark: number): void {
    const places = this.#places;
    const last = places.length / 2 - 1;
    // What is gone keeps its place, with a mark below 0, so that others behind it are still found.
    const stored = mark === none ? -1 : mark;
    for (let place = hash & last; ; place = (place + 1) & last) {
      const isFree = places[2 * place + 1] === none;
      if (!isFree && places[2 * place] !== hash) continue;
      if (isFree && stored < 0) return;
      places[2 * place] = hash;
      places[2 * place + 1] = stored;
      if (isFree && ++this.#taken * 4 > places.length) this.#rebuild();
      return;
    }
  }

  clear(): void {
    this.#places.fill(none);
    this.#taken = 0;
  }

  // In twice the room that those still there need, without those that are gone.
  #rebuild(): void {
    const before = this.#places;
    let alive = 0;
    for (let at = 1; at < before.length; at += 2) if ((before[at] ?? none) > none) alive++;
    const size = 2 ** Math.ceil(Math.log2(Math.max(16, alive) * 4));
    this.#places = new Int32Array(2 * size);
    this.#taken = 0;
    for (let at = 0; at < before.length; at += 2) {
      const mark = before[at + 1] ?? none;
      if (mark > none) this.set(before[at] ?? 0, mark);
    }
  }
}
