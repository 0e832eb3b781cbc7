// What is wrong with cluster, node and kernel, in the log: once when it begins, and once when it is over.
import type { Log } from "../../core/log.ts";
import type { StatusProblem } from "../../core/status.ts";
import { named } from "./apply.ts";

export class ProblemLog {
  readonly #log: Log;
  #known: readonly StatusProblem[] = [];

  constructor(log: Log) {
    this.#log = log;
  }

  /** @param problems all that there are after a pass; of many that are new, or over, some are named. */
  tell(problems: readonly StatusProblem[]): void {
    const known = this.#known;
    this.#known = problems;
    // Pass after pass they are mostly the same.
    if (isSame(known, problems)) return;
    const log = this.#log;
    const begun = missingIn(known, problems);
    for (const { area, message } of begun.slice(0, named))
      log.warn({ area, problem: message }, "problem of the network");
    if (begun.length > named)
      log.warn({ more: begun.length - named }, "further problems of the network are in the status");
    const over = missingIn(problems, known);
    for (const { area, message } of over.slice(0, named))
      log.info({ area, problem: message }, "a problem of the network is over");
    if (over.length > named)
      log.info({ more: over.length - named }, "further problems of the network are over");
  }
}

const isSame = (a: readonly StatusProblem[], b: readonly StatusProblem[]): boolean =>
  a.length === b.length && a.every(({ message }, i) => message === b[i]?.message);

/** Those of `wanted` that `among` has not. */
function missingIn(
  among: readonly StatusProblem[],
  wanted: readonly StatusProblem[],
): readonly StatusProblem[] {
  const messages = new Set(among.map(({ message }) => message));
  return wanted.filter(({ message }) => !messages.has(message));
}
