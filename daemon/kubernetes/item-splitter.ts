// The answer to a list, taken apart as it comes: one item at a time is in memory, however many there are.
// The API gives a whole collection at once where it answers from its cache, which can be 100 MB.

const [quote, backslash, open, close, openList, closeList] = Buffer.from('"\\{}[]');
/** No object of the API is as large: etcd takes 1.5 MiB by default. */
const itemMax = 8 << 20;
const restMax = 1 << 20;
/** `{"items":[{`: an item is the third level. */
const itemDepth = 2;

export class ItemSplitter {
  readonly #take: (item: unknown) => void;
  /** What is neither an item nor between items. A character is an octet: a chunk may end within one of UTF-8. */
  #rest = "";
  #depth = 0;
  #isInString = false;
  #isEscaped = false;
  #isInItems = false;
  /** Of an item that has begun, what came in earlier chunks. */
  #begun: Buffer[] = [];
  #begunSize = 0;

  /** @param take is given each item, parsed. */
  constructor(take: (item: unknown) => void) {
    this.#take = take;
  }

  /** Throws SyntaxError for what is no JSON, RangeError for what is too large. */
  write(chunk: Buffer): void {
    // Where the item, or the text outside of items, begins in this chunk.
    let from = 0;
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i];
      if (this.#isInString) {
        if (this.#isEscaped) this.#isEscaped = false;
        else if (byte === backslash) this.#isEscaped = true;
        else if (byte === quote) this.#isInString = false;
        continue;
      }
      if (byte === quote) this.#isInString = true;
      else if (byte === open || byte === openList) {
        if (this.#depth === 1 && byte === openList) from = this.#enter(chunk, from, i);
        else if (this.#isInItems && this.#depth === itemDepth) from = i;
        this.#depth++;
      } else if (byte === close || byte === closeList) {
        this.#depth--;
        if (this.#isInItems && this.#depth === itemDepth) {
          this.#finish(chunk.subarray(from, i + 1));
          from = i + 1;
        } else if (this.#isInItems && this.#depth === 1) {
          this.#isInItems = false;
          from = i;
        }
      }
    }
    this.#keep(chunk.subarray(from));
  }

  /** All but the items: `kind`, `apiVersion`, `metadata`. Throws SyntaxError where it was cut off. */
  end(): unknown {
    if (this.#depth !== 0) throw new SyntaxError("the list is cut off");
    return JSON.parse(Buffer.from(this.#rest, "latin1").toString("utf8"));
  }

  /** A list begins at the first level: is it that of the items? */
  #enter(chunk: Buffer, from: number, at: number): number {
    this.#addRest(chunk.subarray(from, at + 1));
    this.#isInItems = /(?<!\\)"items"\s*:\s*\[$/.test(this.#rest);
    return at + 1;
  }

  #finish(last: Buffer): void {
    const whole = this.#begun.length === 0 ? last : Buffer.concat([...this.#begun, last]);
    this.#begun = [];
    this.#begunSize = 0;
    this.#take(JSON.parse(whole.toString("utf8")));
  }

  #keep(left: Buffer): void {
    if (!this.#isInItems) return this.#addRest(left);
    // Between items there are commas and space alone.
    if (this.#depth <= itemDepth) return;
    this.#begunSize += left.length;
    if (this.#begunSize > itemMax)
      throw new RangeError(`an item of more than ${itemMax >> 20} MiB`);
    this.#begun.push(left);
  }

  #addRest(text: Buffer): void {
    this.#rest += text.toString("latin1");
    if (this.#rest.length > restMax) throw new RangeError("a list with too much beside its items");
  }
}
