// The reference: `ip -batch` and `bridge -batch` making the same neighbors, entries and routes, with the
// same metrics, on a device that is there already.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { joinDesired } from "../../core/desired/node-state.ts";
import { desireOverlay } from "../../core/desired/overlay.ts";
import { chooseUnderlay } from "../../core/desired/underlay.ts";
import { diffNode } from "../../core/diff.ts";
import { formatChange } from "../../core/format-change.ts";
import { parseConfig } from "../../daemon/config/config.ts";
import { planSettings } from "../../daemon/daemon.ts";
import { observeUnderlay } from "../../daemon/reconcile/observe.ts";
import { openKernel } from "../../kernel/linux.ts";
import type { TestNamespace } from "../../test/support/netns.ts";
import { clusterOf, configuration, localNode } from "./cluster.ts";
import type { Work } from "./node.ts";

export interface BatchOptions {
  readonly nodes: number;
  /** For the programs' input. */
  readonly directory: string;
  /** Each route its own, as ours have it; else one for all. */
  readonly withMetrics: boolean;
}

/** Both programs, in a namespace with an underlay and nothing else. */
export function measureBatch(
  namespace: TestNamespace,
  { nodes, directory, withMetrics }: BatchOptions,
): Work {
  using kernel = openKernel({ namespace: namespace.path });
  const settings = planSettings(parseConfig(configuration, "bench", { nodeName: "node-a" }));
  const choice = chooseUnderlay("auto", localNode.addresses, observeUnderlay(kernel));
  if (choice.kind === "missing") throw new Error(choice.problem);
  const [local, ...peers] = clusterOf(nodes);
  const { underlay } = choice;
  const overlay = desireOverlay({ settings, local: local!, peers, underlay });
  const desired = joinDesired(overlay.own, overlay.peers.values());
  const changes = diffNode(desired, empty, { mayRemove: true });
  kernel.apply(changes.filter(({ kind }) => /link|vxlan|address/.test(kind)));
  const linesOf = (program: string): string =>
    changes
      .filter(({ kind }) => /neighbor|fdb|route/.test(kind))
      .map(formatChange)
      .filter((line) => line.startsWith(`${program} `) && !line.includes("unreachable"))
      .map((line) => (withMetrics ? line : line.replace(/ metric \d+$/, "")))
      .map((line) => `${line.slice(program.length + 1)}\n`)
      .join("");
  const programs = ["ip", "bridge"] as const;
  for (const program of programs) writeFileSync(join(directory, program), linesOf(program));
  const files = programs.map((program) => join(directory, program));
  const script = 'ip -n "$1" -batch "$2" && bridge -n "$1" -batch "$3" && times';
  const args = ["-c", script, "sh", namespace.name, ...files];
  const startedAt = performance.now();
  const times = execFileSync("sh", args, { encoding: "utf8" });
  const elapsed = performance.now() - startedAt;
  const made = kernel.routes({ protocol: 76 }).length;
  if (made !== nodes - 1) throw new Error(`${made} routes, expected ${nodes - 1}`);
  return { elapsed, cpu: childrenCpuMs(times) };
}

/** Of the shell's `times`: user and system time of its children are the second line, such as 0m1.5s. */
function childrenCpuMs(times: string): number {
  const [, children = ""] = times.trim().split("\n");
  const words = [...children.matchAll(/(\d+)m([\d.]+)s/g)];
  return words.reduce((sum, [, m, s]) => sum + (Number(m) * 60 + Number(s)) * 1000, 0);
}

const empty = { addresses: [], neighbors: [], fdb: [], routes: [] };
