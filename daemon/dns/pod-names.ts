// The attachments' records, as the resolver knows pods by them.
import type { Announcer } from "../../attach/announcer.ts";
import type { RecordList, RecordStore, WiredRecord } from "../../attach/records.ts";
import type { Ip } from "../../core/address.ts";
import type { Clock } from "../../core/clock.ts";
import type { CniHandlers } from "../../core/cni/types.ts";
import { toError } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import { attachmentHash } from "../../core/names.ts";
import { PodBook, type PodEntry, type SearchList } from "../../dns/cluster/pod-book.ts";
import { type Pass, UnreachedPeers } from "../reconcile/unreached-peers.ts";
import type { Source } from "../source/source.ts";

/** What the resolver is told of the attachment. */
export function podEntryOf({ key, pod, aliases = [], wired }: WiredRecord): PodEntry {
  const search = searchListOf(wired.dns);
  return {
    id: attachmentHash(key),
    network: key.network,
    addresses: wired.wiring.addresses,
    ...(pod !== undefined && { pod }),
    aliases,
    ...(search !== undefined && { search }),
  };
}

// resolv.conf(5): without the option a name with one dot is tried as it is first.
const defaultNdots = 1;

/**
 * What the runtime was told, or told itself: containerd hands on the pod's own dnsPolicy and dnsConfig. A
 * list of another kind begins elsewhere than in the cluster's domain, and is no concern of the resolver.
 */
function searchListOf({
  search = [],
  options = [],
}: WiredRecord["wired"]["dns"]): SearchList | undefined {
  if (search.length === 0) return undefined;
  const ndots = options.flatMap((option) => /^ndots:(\d{1,2})$/.exec(option)?.[1] ?? []).at(-1);
  return { domains: search, ndots: ndots === undefined ? defaultNdots : Number(ndots) };
}

export interface PodKnowledge extends Disposable {
  readonly book: PodBook;
  /** After each pass of the reconciler. */
  passed(state: Pass): void;
}

/** A book that follows the cluster's news: what this node knows of its own pods is for others to enter. */
export function knowPods({
  source,
  nodeName,
}: {
  readonly source: Pick<Source, "subscribe">;
  readonly nodeName: string;
}): PodKnowledge {
  const book = new PodBook();
  const unreached = new UnreachedPeers(nodeName);
  const tell = (): void => void book.withholdNetworks(unreached.networks);
  const subscription = source.subscribe(({ snapshot }) => {
    unreached.see(snapshot);
    tell();
  });
  return {
    book,
    passed: (state) => {
      unreached.passed(state);
      tell();
    },
    [Symbol.dispose]: () => subscription[Symbol.dispose](),
  };
}

export const announcerTo = (book: PodBook): Announcer => ({
  withhold: (addresses) => book.withhold(addresses),
  announce: (record) => void book.announce(podEntryOf(record), false),
  withdraw: (key) => book.withdraw(attachmentHash(key)),
});

/** The IPAM program's handlers, for pods that another main plugin makes: their addresses are its affair. */
export function liftingGiven(handlers: CniHandlers, book: PodBook): CniHandlers {
  return {
    ...handlers,
    add: async (request, signal) => {
      const result = await handlers.add(request, signal);
      const given: readonly Ip[] = result.ips.map(({ address }) => address.address);
      book.lift(given);
      return result;
    },
  };
}

/** A request that has begun before is over, one way or the other. */
const settledMs = 20_000;
const refreshEveryMs = 5_000;

export interface PodNamesOptions {
  readonly book: PodBook;
  readonly records: Pick<RecordStore, "list">;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Knows the attachments that were there before this daemon, now, and until disposed those that the plugin
 * made or ended by itself, within seconds.
 */
export function knowAttachments({ book, records, clock, log }: PodNamesOptions): Disposable {
  let seen: RecordList | undefined;
  const look = (isFirst: boolean): void => {
    try {
      const before = clock.nowMs() - settledMs;
      const list = records.list();
      if (list === seen && !book.hasWithdrawn) return;
      seen = list;
      const { records: found } = list;
      const entries = found.flatMap(({ wired, ...record }) => {
        if (wired === undefined) return [];
        const isBeingMade = isFirst
          ? wired.wiring.addresses.some((address) => book.isWithheld(address))
          : record.createdAtMs > before;
        if (!isBeingMade) return [podEntryOf({ ...record, wired })];
        // It is looked at again when it is made.
        seen = undefined;
        return [];
      });
      void book.refresh(entries, new Set(found.map(({ key }) => attachmentHash(key))));
    } catch (error) {
      log.error({ err: toError(error) }, "cannot read the attachments for their names");
    }
  };
  look(true);
  const timer = setInterval(look, refreshEveryMs, false);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
