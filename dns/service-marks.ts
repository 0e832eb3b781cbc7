/** Its place is empty, or what was there is gone. */
const none = 0;

/**
 * Which services and namespaces there are, as hashes of their names, and for each a mark that changes
 * when it does. Two names with one hash share a mark: then more is asked of the zone than need be, and
 * nothing is said to be missing that is there. Open addressing, no more than half full.
 */
export class ServiceMarks {
  #hashes: Int32Array = new Int32Array(64);
  #marks: Int32Array = new Int32Array(64);
  /** Places that are taken, also by what is gone. */
  #taken = 0;

  /** The mark of the name, or 0 when there is none of that hash. */
  get(hash: number): number {
    const last = this.#hashes.length - 1;
    for (let place = hash & last; ; place = (place + 1) & last) {
      const mark = this.#marks[place] ?? none;
      if (mark === none) return none;
      if (this.#hashes[place] === hash) return Math.max(mark, none);
    }
  }

  /** A mark from 1 on; 0: it is gone. */
  set(hash: number, mark: number): void {
    const last = this.#hashes.length - 1;
    // What is gone keeps its place, with a mark below 0, so that others behind it are still found.
    const stored = mark === none ? -1 : mark;
    for (let place = hash & last; ; place = (place + 1) & last) {
      const isFree = this.#marks[place] === none;
      if (!isFree && this.#hashes[place] !== hash) continue;
      if (isFree && stored < 0) return;
      this.#hashes[place] = hash;
      this.#marks[place] = stored;
      if (isFree && ++this.#taken * 2 > this.#hashes.length) this.#rebuild();
      return;
    }
  }

  clear(): void {
    this.#marks.fill(none);
    this.#taken = 0;
  }

  // In twice the room that those still there need, without those that are gone.
  #rebuild(): void {
    const [hashes, marks] = [this.#hashes, this.#marks];
    const alive = marks.reduce((count, mark) => (mark > none ? count + 1 : count), 0);
    const size = 2 ** Math.ceil(Math.log2(Math.max(16, alive) * 4));
    this.#hashes = new Int32Array(size);
    this.#marks = new Int32Array(size);
    this.#taken = 0;
    for (const [place, mark] of marks.entries()) {
      if (mark > none) this.set(hashes[place] ?? 0, mark);
    }
  }
}
