// A node that has lost its address for a moment: the kernel has dropped the routes that name it as their
// source, and takes none that does.
import { KernelError } from "../core/error.ts";
import type { Finding } from "../core/finding.ts";
import { formatChange } from "../core/format-change.ts";
import type { IfName } from "../core/names.ts";
import type { Route } from "../core/network.ts";
import type { Kernel } from "../kernel/kernel.ts";

/** Whether the kernel refused a route for its source: by net/ipv4/fib_semantics.c and net/ipv6/route.c. */
export const isSourceRefused = (thrown: unknown): thrown is KernelError =>
  thrown instanceof KernelError &&
  thrown.errno === "EINVAL" &&
  /^Invalid (prefsrc|source) address$/.test(thrown.kernelMessage);

/**
 * Applies what was found to be missing of a device; routes whose source the kernel refuses without it, so
 * that the node's pods and resolver go on reaching one another. Gives what was changed: nothing of a route
 * that stands without its source already. Throws KernelError for another refusal.
 */
export function applyFindings(
  kernel: Pick<Kernel, "apply" | "routes">,
  device: IfName,
  findings: readonly Finding[],
): readonly Finding[] {
  try {
    kernel.apply(findings.map(({ change }) => change));
    return findings;
  } catch (cause) {
    if (!isSourceRefused(cause)) throw cause;
  }
  // All but what was refused is done: the kernel goes on after a refusal.
  const present = new Set(kernel.routes({ device }).map(lineOf));
  const done = findings.flatMap((finding): readonly Finding[] => {
    const { change } = finding;
    if (change.kind !== "add-route" && change.kind !== "replace-route") return [finding];
    if (present.has(lineOf(change.route))) return [finding];
    const { source: _, ...route } = change.route;
    return present.has(lineOf(route)) ? [] : [{ ...finding, change: { ...change, route } }];
  });
  kernel.apply(done.filter((finding) => !findings.includes(finding)).map(({ change }) => change));
  return done;
}

const lineOf = (route: Route): string => formatChange({ kind: "add-route", route });
