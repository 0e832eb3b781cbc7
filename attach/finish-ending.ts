import { isEndingGroup, isPodHostInterface } from "../core/names.ts";
import type { Link } from "../core/network.ts";
import { ownIpamType } from "../core/cni/config.ts";
import { releaseRecorded } from "./addresses.ts";
import type { AttachScope } from "./context.ts";
import { detach, removeInterface } from "./del.ts";

/**
 * Ends the attachment that has this end of a pair in its pod, where a DEL has begun to: one that is at work,
 * or was killed. A runtime that uses a sandbox again waits for neither. False where it is none of ours, or
 * nobody asked for its end.
 */
export async function finishEnding(
  scope: AttachScope,
  podEnd: Link,
  signal: AbortSignal,
): Promise<boolean> {
  const { kernel, records, reaper, log } = scope;
  const host = kernel
    .links()
    .find(({ index, linkIndex }) => index === podEnd.linkIndex && linkIndex === podEnd.index);
  if (host === undefined || !isPodHostInterface(host.name)) return false;
  if (!isEndingGroup(host.group)) return false;
  const { key } = records.readOf(host.name) ?? {};
  if (key === undefined) {
    await reaper.retire(host.name, []);
    return true;
  }
  using _lock = await records.lock(key, signal);
  const record = records.readOf(host.name);
  const current = kernel.link(host.name);
  // Who had the lock went on, or made it anew.
  if (current?.index !== host.index || !isEndingGroup(current.group)) return true;
  log.info({ ...key }, "a DEL that was not finished is, for the sandbox is used again");
  if (record?.ipam.type === ownIpamType) {
    const release = () => releaseRecorded(scope, record, signal);
    await detach(scope, { key, record, release, reap: "wait" });
  } else {
    // Its IPAM plugin has to be told, which a DEL that comes again, or GC, does.
    await removeInterface(scope, key, record?.wired?.wiring, "wait");
  }
  return true;
}
