// The reference: `ip -batch` and `bridge -batch` making the same neighbors, entries and routes, with the
// same metrics, on a device that is there already.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { desireOverlay } from "../../core/desired/overlay.ts";
import { chooseUnderlay } from "../../core/desired/underlay.ts";
import { diffNode } from "../../core/diff.ts";
import { formatChange } from "../../core/format-change.ts";
import { parseConfig } from "../../daemon/config.ts";
import { planSettings } from "../../daemon/daemon.ts";
import { observeUnderlay } from "../../daemon/observe.ts";
import { openKernel } from "../../kernel/linux.ts";
import type { TestNamespace } from "../../test/support/netns.ts";
import { clusterOf, configuration, localNode } from "./cluster.ts";

/** Milliseconds of both programs, in a namespace with an underlay and nothing else. */
export function measureBatch(namespace: TestNamespace, nodes: number, directory: string): number {
  using kernel = openKernel({ namespace: namespace.path });
  const settings = planSettings(parseConfig(configuration, "bench", { nodeName: "node-a" }));
  const choice = chooseUnderlay("auto", localNode.addresses, observeUnderlay(kernel));
  if (choice.kind === "missing") throw new Error(choice.problem);
  const [local, ...peers] = clusterOf(nodes);
  const { underlay } = choice;
  const { node } = desireOverlay({ settings, local: local!, peers, underlay });
  const changes = diffNode(node, empty, { mayRemove: true });
  kernel.apply(changes.filter(({ kind }) => /link|vxlan|address/.test(kind)));
  const linesOf = (program: string): string =>
    changes
      .filter(({ kind }) => /neighbor|fdb|route/.test(kind))
      .map(formatChange)
      .filter((line) => line.startsWith(`${program} `) && !line.includes("unreachable"))
      .map((line) => `${line.slice(program.length + 1)}\n`)
      .join("");
  const programs = ["ip", "bridge"] as const;
  for (const program of programs) writeFileSync(join(directory, program), linesOf(program));
  const startedAt = performance.now();
  for (const program of programs) {
    execFileSync(program, ["-n", namespace.name, "-batch", join(directory, program)]);
  }
  const elapsed = performance.now() - startedAt;
  const made = kernel.routes({ protocol: 76 }).length;
  if (made !== nodes - 1) throw new Error(`${made} routes, expected ${nodes - 1}`);
  return elapsed;
}

const empty = { addresses: [], neighbors: [], fdb: [], routes: [] };
