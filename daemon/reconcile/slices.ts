// Many changes, a slice at a time off the event loop: while the kernel works on one, the next is made.
import type { Finding } from "../../core/finding.ts";
import type { ApplyResult } from "./apply.ts";
import type { LoopOutcome } from "./loop.ts";

/** Some 10 ms of the main thread's time. */
const sliceLength = 1500;
/** One that the kernel works on, and one that waits for it. */
const underWayAtMost = 2;

interface Slice {
  readonly findings: readonly Finding[];
  readonly isRepair: boolean;
}

/** What became of a slice. */
export interface Written extends ApplyResult {
  readonly isRepair: boolean;
}

export class Slices {
  readonly #write: (findings: readonly Finding[]) => Promise<ApplyResult>;
  readonly #waiting: Slice[] = [];
  readonly #underWay: Promise<void>[] = [];
  #written: Written[] = [];

  /** @param write does not reject, and writes one after the other. */
  constructor(write: (findings: readonly Finding[]) => Promise<ApplyResult>) {
    this.#write = write;
  }

  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** The kernel works on one. */
  get isUnderWay(): boolean {
    return this.#underWay.length > 0;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0 && this.#underWay.length === 0;
  }

  add(findings: readonly Finding[], isRepair: boolean): void {
    for (let at = 0; at < findings.length; at += sliceLength) {
      this.#waiting.push({ findings: findings.slice(at, at + sliceLength), isRepair });
    }
  }

  /** Begins the next slice, if there is one. */
  begin(): void {
    const slice = this.#waiting.shift();
    if (slice !== undefined) this.#underWay.push(this.#begin(slice));
  }

  /** When there is room for another one. */
  room(): LoopOutcome {
    const [first] = this.#underWay;
    return first === undefined || this.#underWay.length < underWayAtMost ? "unfinished" : first;
  }

  /** Resolves when all that has begun is written. */
  async ended(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  /** What has been written since the last call. */
  take(): readonly Written[] {
    const written = this.#written;
    this.#written = [];
    return written;
  }

  async #begin({ findings, isRepair }: Slice): Promise<void> {
    const result = await this.#write(findings);
    this.#written.push({ ...result, isRepair });
    void this.#underWay.shift();
  }
}

/** As one of repairs, and one of the rest; of the failures of each the first, as if it had been one batch. */
export const joinWritten = (written: readonly Written[]): readonly Written[] =>
  [true, false].map((isRepair) => {
    const parts = written.filter((part) => part.isRepair === isRepair);
    return {
      isRepair,
      applied: parts.flatMap(({ applied }) => applied),
      failures: parts.flatMap(({ failures }) => failures).slice(0, 1),
    };
  });
