// The demo, chapter by chapter. test/lab runs the same story and holds every claim to be true.
import { artifacts } from "../../cli/home.ts";
import { demoCluster } from "../../cli/lab/cluster.ts";
import { labDown, labUp } from "../../cli/lab/lab.ts";
import { describeError } from "../../core/error.ts";
import { addPods, removePods } from "./attachments.ts";
import type { Claim } from "./claim.ts";
import { askNames } from "./names.ts";
import { claimNodes } from "./nodes.ts";
import { reachOutside } from "./outside.ts";
import { reachPods } from "./reachability.ts";
import { observeNodes, traceOfLab, watchMachine } from "./remains.ts";
import type { Stage } from "./stage.ts";

export interface Story extends Pick<Stage, "report" | "show" | "signal"> {
  readonly directory: string;
  /** Where the demo's manifests are. */
  readonly manifests: string;
  /** Leave the lab up at the end. */
  readonly keep: boolean;
}

/** Tells the story; each claim it comes to, true or not. A chapter that fails ends it, as a claim. */
export async function tell(story: Story): Promise<readonly Claim[]> {
  const { directory, report, show, signal } = story;
  const claims: Claim[] = [];
  let chapter = "three nodes come up";
  const machine = await watchMachine(signal);
  try {
    const cluster = demoCluster(story.manifests, 3);
    const { lab, topology } = await labUp(
      { directory, source: "file", cluster, artifacts, report },
      signal,
    );
    const stage: Stage = {
      lab,
      topology,
      cluster,
      command: artifacts.command,
      report,
      show,
      signal,
    };
    claims.push(...(await claimNodes(stage)));
    const before = await observeNodes(stage);
    chapter = "pods are attached";
    const attached = await addPods(stage);
    claims.push(...attached.claims);
    chapter = "every pod reaches every other";
    claims.push(...(await reachPods(stage, attached.pods)));
    chapter = "pods reach the outside";
    claims.push(...(await reachOutside(stage, attached.pods)));
    chapter = "names are answered";
    claims.push(...(await askNames(stage, attached.pods)));
    if (story.keep) return claims;
    chapter = "pods are detached";
    claims.push(...(await removePods(stage, attached.pods, before)));
  } catch (error) {
    signal.throwIfAborted();
    claims.push({ text: chapter, seen: describeError(error), isTrue: false });
  } finally {
    if (!story.keep) await labDown(directory);
  }
  if (!story.keep) claims.push(await machine.claimUntouched(() => traceOfLab(directory)));
  return claims;
}
