// The source that the configuration names. Only what that one needs is loaded.
import type { Clock } from "../../core/clock.ts";
import type { Log } from "../../core/log.ts";
import type { Paths } from "../../core/paths.ts";
import { systemRandom } from "../../kernel/random.ts";
import type { Config } from "../config.ts";
import { openFileSource } from "./file-source.ts";
import type { Source } from "./source.ts";

export interface SourceContext {
  readonly config: Config;
  readonly paths: Paths;
  readonly clock: Clock;
  readonly log: Log;
}

/** Throws ConfigError where it cannot even be asked: a kubeconfig that is wrong. */
export async function openSource(context: SourceContext): Promise<Source> {
  const { config, log } = context;
  const { source } = config.cluster;
  if (source.kind === "file") return openFileSource({ directory: source.directory, log });
  const { openKubernetes } = await import("./open-kubernetes.ts");
  return openKubernetes({ ...context, source, random: systemRandom });
}
