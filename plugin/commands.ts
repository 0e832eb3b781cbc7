import { silentAnnouncer } from "../attach/announcer.ts";
import { type AttachContext, createHandlers } from "../attach/handlers.ts";
import { withAttachLock } from "../attach/lock.ts";
import { readNodeFacts } from "../kernel/node-facts.ts";
import { openRecords } from "../attach/records.ts";
import type { CniHandlers } from "../core/cni/types.ts";
import type { Log } from "../core/log.ts";
import { paths } from "../core/paths.ts";
import { openIpam } from "../ipam/store.ts";
import { systemClock } from "../kernel/clock.ts";
import { openKernel } from "../kernel/linux.ts";
import { systemRandom } from "../kernel/random.ts";

// Longer than a daemon's first sweep takes, well within a request's time.
const attachLockDeadlineMs = 5_000;

/**
 * The handlers of a process that serves one request by itself, on this node's kernel and files. What
 * is not known without a daemon (node.json) throws when it is needed: DEL does not need it.
 */
export function openCommands(log: Log): CniHandlers & Disposable {
  const kernel = openKernel();
  const context: AttachContext = {
    kernel,
    ipam: openIpam({
      clock: systemClock,
      log,
      tracking: { trackedAmong: (asked) => kernel.trackedAmong(asked), when: "range is full" },
    }),
    records: openRecords({ directory: paths.attachments, clock: systemClock, log }),
    nodeFacts: () => readNodeFacts(paths),
    clock: systemClock,
    random: systemRandom,
    log,
    announcer: silentAnnouncer,
    reap: "wait",
  };
  const lock = { path: paths.attachLock, clock: systemClock, deadlineMs: attachLockDeadlineMs };
  return {
    ...withAttachLock(createHandlers(context), lock),
    [Symbol.dispose]: () => kernel[Symbol.dispose](),
  };
}
