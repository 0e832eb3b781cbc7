// Which leases nobody will ask about again. Pure.
import type { DetailedLease } from "./ipam.ts";
import type { Moment } from "./journal-event.ts";

/** Why a lease was freed, for people. */
export type StaleReason = "of an earlier boot" | "its sandbox is gone";

export interface StaleQuestion {
  readonly now: Moment;
  /** Network namespaces that somebody has; undefined when that cannot be told. */
  readonly live: ReadonlySet<number> | undefined;
  /** An attachment that is younger may be in the making. */
  readonly graceMs: number;
}

/**
 * Undefined when in doubt: without details nothing is known, and a lease of this boot is kept as long
 * as its sandbox may live.
 */
export function staleReason(
  { details }: DetailedLease,
  { now, live, graceMs }: StaleQuestion,
): StaleReason | undefined {
  if (details === undefined) return undefined;
  const { given, sandbox } = details;
  if (isOfEarlierBoot(given, now)) return "of an earlier boot";
  if (sandbox === undefined || live === undefined || live.has(sandbox.inode)) return undefined;
  const isYoung = given.bootId === now.bootId && now.elapsedMs - given.elapsedMs < graceMs;
  return isYoung ? undefined : "its sandbox is gone";
}

/**
 * By the boot's id and the clock: a container may show another id than its machine, to processes of the
 * same boot.
 */
export const isOfEarlierBoot = (given: Moment, now: Moment): boolean =>
  given.bootId !== now.bootId && given.wallMs < now.wallMs - now.elapsedMs;
