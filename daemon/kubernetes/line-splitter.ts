// A stream of JSON objects, one on each line: what a watch answers.

/** An event has one object, or two while it grows. */
const lineMax = 8 << 20;
const newline = 10;

export class LineSplitter {
  #begun: Buffer[] = [];
  #begunSize = 0;

  /** The lines that are complete, parsed. Throws SyntaxError, or RangeError for one that is too long. */
  *write(chunk: Buffer): Generator<unknown, void> {
    let from = 0;
    for (;;) {
      const end = chunk.indexOf(newline, from);
      if (end < 0) break;
      const last = chunk.subarray(from, end);
      const line = this.#begun.length === 0 ? last : Buffer.concat([...this.#begun, last]);
      this.#begun = [];
      this.#begunSize = 0;
      from = end + 1;
      if (line.length > 0) yield JSON.parse(line.toString("utf8"));
    }
    if (from === chunk.length) return;
    this.#begunSize += chunk.length - from;
    if (this.#begunSize > lineMax) throw new RangeError(`a line of more than ${lineMax >> 20} MiB`);
    this.#begun.push(chunk.subarray(from));
  }
}
