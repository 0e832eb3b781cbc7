// Whether the daemon can answer in the place of a `fairlead-ipam` process, whose configuration names files.
import { type Stats, statSync } from "node:fs";
import { normalize } from "node:path";
import type { IpamConf } from "../../core/cni/types.ts";

// Of this machine by the file system hierarchy standard. Elsewhere may be a network's file system, for
// which the daemon must not stop, and /proc and /dev differ from process to process.
const localPlaces = ["/etc/", "/run/", "/var/lib/", "/var/run/"];

/**
 * True when what the configuration names is the same file for the process as for us, on this machine's
 * disks, and none that a reader could wait at. `pid`: the launcher, which waits for its answer.
 */
export function canStandIn(pid: number, { dataDir, resolvConf }: IpamConf): boolean {
  try {
    return (
      isSame(`/proc/${pid}/ns/mnt`, "/proc/self/ns/mnt") &&
      isSame(`/proc/${pid}/root`, "/proc/self/root") &&
      (dataDir === undefined || isLocalPath(dataDir)) &&
      (resolvConf === undefined || (isLocalPath(resolvConf) && mayBeRead(resolvConf)))
    );
  } catch {
    // The process is gone, or a path cannot be looked up: it is not for us to say what that means.
    return false;
  }
}

function isSame(path: string, other: string): boolean {
  const [a, b]: readonly Stats[] = [statSync(path), statSync(other)];
  return a?.dev === b?.dev && a?.ino === b?.ino;
}

const isLocalPath = (path: string): boolean =>
  normalize(path) === path && localPlaces.some((place) => path.startsWith(place));

/** A pipe, for one, has nothing to read as long as nobody writes. A missing file is an error at once. */
const mayBeRead = (path: string): boolean =>
  statSync(path, { throwIfNoEntry: false })?.isFile() ?? true;
