// The two files that tell others of this node: node.json for the plugin, then the conflist for the
// container runtime. Both are put back when somebody alters or removes them.
import { dirname, join } from "node:path";
import type { Clock } from "../../core/clock.ts";
import { describeError } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import { formatNodeFacts, type NodeFacts } from "../../core/node-facts.ts";
import type { Paths } from "../../core/paths.ts";
import type { RepairLedger } from "../../core/repair-ledger.ts";
import type { StatusProblem } from "../../core/status.ts";
import { readFileIfThere, replaceFile } from "../files/replace-file.ts";
import { DirectoryWatch, type WatchTiming } from "../files/watch.ts";
import { type ConflistOutcome, ensureConflist, formatConflist } from "./conflist.ts";

export interface NodeFilesOptions {
  readonly paths: Paths;
  /** `cni.confDir` */
  readonly confDir: string;
  readonly ledger: RepairLedger;
  readonly clock: Clock;
  readonly log: Log;
  readonly timing?: WatchTiming;
}

const usualTiming: WatchTiming = { quietMs: 5, atMostMs: 50, everyMs: 10_000 };

export class NodeFiles implements Disposable {
  /** How often one of them was put back. */
  repairs = 0;
  readonly #conflistPath: string;
  readonly #factsPath: string;
  readonly #ledger: RepairLedger;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #watch: DirectoryWatch;
  #facts: NodeFacts | undefined;
  #problems: readonly StatusProblem[] = [];
  #isPublished = false;
  /** At the last look. */
  #isConflistOurs = false;

  constructor(options: NodeFilesOptions) {
    const { paths, confDir, ledger, clock, log, timing = usualTiming } = options;
    this.#ledger = ledger;
    this.#clock = clock;
    this.#factsPath = paths.nodeFacts;
    this.#conflistPath = join(confDir, paths.conflist);
    this.#log = log;
    this.#watch = new DirectoryWatch(() => this.#ensure(true), timing);
  }

  /** Both files are there, and say what they should. */
  get isPublished(): boolean {
    return this.#isPublished;
  }

  get problems(): readonly StatusProblem[] {
    return this.#problems;
  }

  /** What the files say from now on. The node must be ready for pods. */
  publish(facts: NodeFacts): void {
    if (this.#facts !== undefined && formatNodeFacts(facts) === formatNodeFacts(this.#facts))
      return;
    this.#facts = facts;
    this.#ensure(false);
  }

  #ensure(isRepair: boolean): void {
    if (this.#facts === undefined) return;
    try {
      const repaired = [...this.#ensureFacts(this.#facts), ...this.#ensureConflist(this.#facts)];
      if (isRepair && repaired.length > 0) {
        this.repairs += repaired.length;
        const at = new Date(this.#clock.nowMs()).toISOString();
        this.#ledger.add(repaired.map(({ done, found }) => ({ at, kind: "file", found, done })));
        this.#log.warn({ repairs: repaired }, "put back files that were changed behind our back");
      } else if (repaired.length > 0)
        this.#log.info({ files: repaired.map(({ path }) => path) }, "told the node's facts");
    } catch (error) {
      this.#isPublished = false;
      this.#problems = [{ area: "cni", message: `Cannot write a file: ${describeError(error)}` }];
      this.#log.error({ problem: describeError(error) }, "cannot tell the node's facts");
    }
    this.#watch.follow(new Set([dirname(this.#factsPath), dirname(this.#conflistPath)]));
    this.#watch.expect();
  }

  #ensureFacts(facts: NodeFacts): readonly Written[] {
    const path = this.#factsPath;
    const text = formatNodeFacts(facts);
    const found = readFileIfThere(path);
    if (found === text) return [];
    replaceFile(path, text, 0o644);
    return [writtenOver(found, path)];
  }

  #ensureConflist({ network }: NodeFacts): readonly Written[] {
    const path = this.#conflistPath;
    const found = readFileIfThere(path);
    const outcome = ensureConflist(path, formatConflist(network), this.#isConflistOurs);
    this.#isConflistOurs = outcome === "current" || outcome === "written";
    this.#isPublished = outcome !== "broken";
    this.#problems = leftAlone(path, outcome);
    return outcome === "written" ? [writtenOver(found, path)] : [];
  }

  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]();
  }
}

function leftAlone(path: string, outcome: ConflistOutcome): readonly StatusProblem[] {
  switch (outcome) {
    case "foreign":
      return [
        {
          area: "cni",
          message: `Left ${path} alone: it lacks "managedBy": "fairlead", so it is not fairlead's`,
        },
      ];
    case "broken":
      return [
        {
          area: "cni",
          message: `Left ${path} alone: it is not JSON, so no runtime can attach pods by it; correct it, or remove it for fairlead to write its own`,
        },
      ];
    default:
      return [];
  }
}

interface Written {
  readonly path: string;
  readonly found: string;
  readonly done: string;
}

const writtenOver = (found: string | undefined, path: string): Written => ({
  path,
  found: found === undefined ? "nothing" : `a file of ${Buffer.byteLength(found)} octets`,
  done: `write ${path}`,
});
