// What the lease directories of a node have, for people: looked at without changing anything, whether
// or not a daemon runs.
import * as fs from "node:fs";
import { join } from "node:path";
import type { BootClock, Clock } from "../core/clock.ts";
import { describeError, hasErrno } from "../core/error.ts";
import { openLock } from "../kernel/flock.ts";
import { LeaseDirectory } from "./directory.ts";
import type { DiskWrites } from "./disk-writes.ts";
import { LeaseJournal } from "./journal.ts";
import { LeaseMemory } from "./lease-memory.ts";

export interface InspectOptions {
  /** `/var/lib/cni/networks`, or another `ipam.dataDir`. */
  readonly dataDir: string;
  /** What {@link LeaseJournal} keeps beside it. */
  readonly journals: string;
  readonly clock: Clock;
  readonly boot: BootClock;
  /** How long freed addresses rest where no request of the network has said so. */
  readonly quarantineMs: number;
  readonly signal: AbortSignal;
}

// Whoever holds the lock holds it for one request.
const lockDeadlineMs = 5000;

/** The networks that have a directory, by name. */
export function networksIn(dataDir: string): readonly string[] {
  try {
    return fs
      .readdirSync(dataDir, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !entry.name.startsWith("."))
      .map(({ name }) => name)
      .sort();
  } catch (cause) {
    if (hasErrno(cause, "ENOENT")) return [];
    throw cause;
  }
}

/** One network's leases, under its lock where there is one. Throws what stands in the way. */
export async function inspectNetwork(
  network: string,
  options: InspectOptions,
): Promise<LeaseMemory> {
  const { dataDir, journals, clock, boot, quarantineMs, signal } = options;
  const directory = new LeaseDirectory(join(dataDir, network), clock, readOnly);
  const memory = new LeaseMemory({ clock, boot });
  if (!directory.exists()) return memory;
  try {
    // A lock that is not there is made by who takes it.
    using _lock = fs.existsSync(directory.lockPath)
      ? await openLock(directory.lockPath, "shared", { deadlineMs: lockDeadlineMs, clock, signal })
      : undefined;
    memory.hear(new LeaseJournal(join(journals, network), readOnly).news());
    const content = directory.read(memory.files());
    for (const [address, { stamp }] of content.mended) memory.renew(address, stamp);
    memory.look(content);
  } catch (cause) {
    throw new Error(`Cannot read the leases in "${directory.path}": ${describeError(cause)}`, {
      cause,
    });
  }
  memory.quarantine.expire(boot.elapsedMs(), memory.quarantineMs ?? quarantineMs);
  return memory;
}

/**
 * Changes nothing, as if all were done: empty and torn files are written again or reclaimed by the next
 * request, not by who looks.
 */
export const readOnly: DiskWrites = {
  mkdirSync: () => undefined,
  writeFileSync: () => {},
  openSync: (path) => fs.openSync(path, "r"),
  writeSync: (_fd, content) => Buffer.byteLength(content),
  ftruncateSync: () => {},
  linkSync: () => {},
  renameSync: () => {},
  unlinkSync: () => {},
  utimesSync: () => {},
};
