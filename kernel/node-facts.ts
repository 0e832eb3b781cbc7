import { readFileSync } from "node:fs";
import { CniCode, CniError } from "../core/cni/error.ts";
import { describeError, hasErrno } from "../core/error.ts";
import { type NodeFacts, parseNodeFacts } from "../core/node-facts.ts";

export interface NodeFactsFiles {
  /** `/run/fairlead/node.json` */
  readonly nodeFacts: string;
  /** `/proc/sys/kernel/random/boot_id` */
  readonly bootId: string;
}

/**
 * What the daemon last wrote of this node. Throws CniError tryAgainLater, naming the daemon, when
 * there is nothing, nothing that can be read, or only what an earlier boot left.
 */
export function readNodeFacts({ nodeFacts, bootId }: NodeFactsFiles): NodeFacts {
  const facts = readFacts(nodeFacts);
  if (facts.bootId === readFileSync(bootId, "utf8").trim()) return facts;
  throw unknown(nodeFacts, "it is of an earlier boot");
}

function readFacts(path: string): NodeFacts {
  try {
    return parseNodeFacts(readFileSync(path, "utf8"), path);
  } catch (cause) {
    if (hasErrno(cause, "ENOENT")) throw unknown(path, "it does not exist", cause);
    throw unknown(path, describeError(cause), cause);
  }
}

const unknown = (path: string, problem: string, cause?: unknown): CniError =>
  new CniError(
    CniCode.tryAgainLater,
    `Cannot use the node's facts in "${path}": ${problem}; the fairlead daemon writes it`,
    { cause },
  );
