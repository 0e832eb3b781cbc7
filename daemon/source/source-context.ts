// What the sources of the cluster are opened with.
import type { Clock } from "../../core/clock.ts";
import type { Log } from "../../core/log.ts";
import type { NodeFacts } from "../../core/node-facts.ts";
import type { Paths } from "../../core/paths.ts";
import type { Ipam } from "../../ipam/ipam.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import type { Config } from "../config/config.ts";

export interface SourceContext {
  readonly config: Config;
  readonly paths: Paths;
  readonly clock: Clock;
  readonly log: Log;
}

/** What a node that tells the cluster of itself has to tell. */
export interface OwnNode {
  readonly kernel: Kernel;
  readonly ipam: Ipam;
  /** What it was when it last was ready. */
  readonly known: () => NodeFacts | undefined;
  /** Resolves when the daemon whose place this one takes has gone; absent: there is none. */
  readonly alone?: Promise<void>;
}
