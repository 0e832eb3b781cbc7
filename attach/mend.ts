import { KernelError } from "../core/error.ts";
import { formatChange } from "../core/format-change.ts";
import { hostInterfaceName, routeProtocol } from "../core/names.ts";
import type { Change, Link, Route } from "../core/network.ts";
import type { AttachScope } from "./context.ts";
import { followNew } from "./follow.ts";
import type { AttachmentRecord } from "./records.ts";
import { wire } from "./wiring.ts";

/**
 * Puts back what somebody else took from the attachments' ends at the node: the interface up, the routes
 * to the pod, and with them its neighbor entries. An interface that is gone stays gone: the next ADD makes
 * it. What a request is at work on is left to it. Gives what was put back; failures are logged.
 */
export function mend(scope: AttachScope): readonly Change[] {
  const { kernel, records } = scope;
  const list = records.list().records;
  if (list.length === 0) return [];
  followNew(scope, list);
  const links = new Map(kernel.links().map((link) => [link.name, link]));
  const present = linesOf(kernel.routes({ protocol: routeProtocol }));
  return list
    .filter((record) => {
      const link = links.get(hostInterfaceName(record.key));
      return link !== undefined && missing(record, link, present).length > 0;
    })
    .flatMap((record) => mendOne(scope, record));
}

// Looked at again under the lock: a request may have ended in between.
function mendOne({ kernel, records, log }: AttachScope, { key }: AttachmentRecord): Change[] {
  using lock = records.tryLock(key);
  const record = lock && records.read(key);
  const device = hostInterfaceName(key);
  const link = kernel.link(device);
  if (record === undefined || link === undefined) return [];
  const changes = missing(record, link, linesOf(kernel.routes({ device })));
  try {
    kernel.apply(changes);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    log.error({ ...key, err: error }, "cannot put back what is missing of an attachment");
    return [];
  }
  if (changes.length > 0) {
    log.warn({ ...key, changes: changes.map(formatChange) }, "put back what was taken from a pod");
  }
  return changes;
}

function missing({ key, wired }: AttachmentRecord, link: Link, present: Set<string>): Change[] {
  const host = wired && wire(key, wired.wiring).host;
  if (host === undefined || link.index !== host.index) return [];
  const routes = host.routes
    .map((route): Change => ({ kind: "add-route", route }))
    .filter((change) => !present.has(formatChange(change)));
  if (link.isUp && routes.length === 0) return [];
  return [
    { kind: "set-link", device: host.device, settings: { isUp: true } },
    ...routes,
    ...host.neighbors.map((neighbor): Change => ({ kind: "replace-neighbor", neighbor })),
  ];
}

const linesOf = (routes: readonly Route[]): Set<string> =>
  new Set(routes.map((route) => formatChange({ kind: "add-route", route })));
