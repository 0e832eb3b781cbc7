// The resolver as a part of the daemon: what it is started with, and what becomes of its sockets.
import { closeSync } from "node:fs";
import type { RecordStore } from "../../attach/records.ts";
import { type Cidr, hostCidr, parseCidr } from "../../core/address.ts";
import type { Clock } from "../../core/clock.ts";
import type { Snapshot } from "../../core/cluster/model.ts";
import { toError } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import type { Paths } from "../../core/paths.ts";
import type { PodBook } from "../../dns/cluster/pod-book.ts";
import { siteNamesOf } from "../../dns/handlers/site-names.ts";
import {
  type DnsOptions,
  type DnsServer,
  type InheritedSockets,
  type Upstream,
  startDns,
} from "../../dns/server.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { listeningSocketOf } from "../../kernel/listening-socket.ts";
import { type Config, podNetworks } from "../config/config.ts";
import { readFileIfThere } from "../files/replace-file.ts";
import type { Source } from "../source/source.ts";
import type { ReportInput } from "../status/report.ts";
import { DnsAhead } from "./dns-ahead.ts";
import { storeDescriptors } from "./descriptor-store.ts";
import { knowAttachments } from "./pod-names.ts";
import { findUpstreams, forwardSettings, silentUpstreams, type Upstreams } from "./upstreams.ts";

export interface DnsContext {
  readonly config: Config;
  readonly paths: Paths;
  readonly kernel: Kernel;
  readonly clock: Clock;
  readonly log: Log;
  readonly records: RecordStore;
  /** Sockets of a daemon before this one, or that its supervisor has kept; ours from here on. */
  readonly given: readonly number[];
}

/** Disposed, it answers what it has taken. */
export interface RunningDns extends AsyncDisposable {
  readonly server: DnsServer;
  readonly report: () => NonNullable<ReportInput["dns"]>;
  readonly follow: (config: Config) => void;
  /** Another daemon has the sockets: queries that are taken have their time, and others go there. */
  readonly noteSuccessor: () => void;
  /** The resolver, and its subscription. */
  readonly stack: AsyncDisposableStack;
}

/** Undefined when the configuration has none. */
export async function openDns(
  context: DnsContext,
  source: Source,
  podBook: PodBook,
): Promise<RunningDns | undefined> {
  const { config, clock, log, given, records } = context;
  const { dns } = config;
  if (!dns.isEnabled) {
    for (const fd of given) closeSync(fd);
    return undefined;
  }
  const find = (configured: Config["dns"]["upstreams"]): Upstreams => {
    const found = findUpstreams({ configured, own: dns.addresses, readFile: readFileIfThere });
    for (const warning of found.warnings) log.warn({ warning }, "upstream resolvers");
    return found;
  };
  let upstreams = find(dns.upstreams);
  await using stack = new AsyncDisposableStack();
  const { snapshot } = source.state();
  stack.use(knowAttachments({ book: podBook, records, clock, log }));
  const server = stack.use(
    await startDns({
      ...serverOptions(config, upstreams.upstreams),
      podBook,
      inherited: inheritedFrom(given),
      ...(snapshot.isInSync && { snapshot }),
      log,
    }),
  );
  const publish = (next: Snapshot): void => {
    server.publish(next);
    void podBook.knowOthers(next.attachments ?? noAttachments);
  };
  stack.use(source.subscribe((state) => publish(state.snapshot)));
  publish(source.state().snapshot);
  const ahead = stack.use(keepAhead(context, server));
  const follow = (next: Config): void => {
    upstreams = find(next.dns.upstreams);
    server.useUpstreams(upstreams.upstreams);
  };
  const usedUpstreams = () => [...upstreams.upstreams, ...Object.values(dns.site.stubs).flat()];
  const report = () => ({
    counters: server.counters(),
    listening: server.listening(),
    upstreams: upstreams.upstreams,
    ...(ahead && { ahead: ahead.state() }),
    warnings: [...upstreams.warnings, ...silentUpstreams(server, usedUpstreams())],
  });
  const noteSuccessor = (): void => {
    server.noteSuccessor();
    ahead?.noteSuccessor();
  };
  const held = stack.move();
  return {
    server,
    report,
    follow,
    noteSuccessor,
    stack: held,
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

/** All but what the moment of the start decides. */
const serverOptions = (config: Config, upstreams: readonly Upstream[]): Omit<DnsOptions, "log"> => {
  const { dns } = config;
  return {
    addresses: dns.addresses,
    port: 53,
    domain: dns.domain,
    ttl: dns.ttl,
    pods: dns.pods,
    upstreams,
    forward: forwardSettings(dns.forward),
    ...(dns.log.share > 0 && { queryLog: dns.log }),
    autopath: dns.autopath,
    cache: dns.cache,
    site: siteNamesOf(dns.site),
    clients: clientsOf(config),
    limits: dns.limits,
    realtimeShare: dns.realtimeShare,
    serverId: config.nodeName,
    ...bundledWorker(),
  };
};

/** Pods and other nodes' overlay addresses, and the node itself: it asks from the address it asks at. */
const clientsOf = ({ dns, network }: Config): readonly Cidr[] => [
  ...podNetworks(network),
  ...dns.addresses.map(hostCidr),
  ...["127.0.0.0/8", "::1/128"].flatMap((text) => parseCidr(text) ?? []),
  ...dns.clients,
];

function keepAhead(
  { config, kernel, clock, log }: DnsContext,
  server: DnsServer,
): DnsAhead | undefined {
  const { isAhead, addresses, domain } = config.dns;
  if (!isAhead || addresses.length === 0) return undefined;
  return new DnsAhead({ addresses, domain, server, kernel, clock, log });
}

const noAttachments: NonNullable<Snapshot["attachments"]> = new Map();

// In a bundle the worker is a file beside this one; from the sources the resolver knows its own.
const bundledWorker = (): { readonly workerUrl?: URL } =>
  import.meta.url.endsWith(".ts") ? {} : { workerUrl: new URL("./dns-worker.js", import.meta.url) };

/** By address. What is no listening socket, or there twice, is closed. */
export function inheritedFrom(fds: readonly number[]): readonly InheritedSockets[] {
  const found = new Map<string, InheritedSockets>();
  for (const fd of fds) {
    const socket = listeningSocketOf(fd);
    const key = `${socket?.address} ${socket?.port}`;
    const known = found.get(key);
    if (socket === undefined || known?.[socket.transport] !== undefined) closeSync(fd);
    else {
      const { address, port, transport } = socket;
      found.set(key, { address, port, ...known, [transport]: fd });
    }
  }
  return [...found.values()];
}

/** A source that is broken must not keep the daemon from starting: it is as broken for the one before. */
const inSyncMs = 5_000;

/** Resolves when the source has told all that there is, or what this node knew of it, or is broken. */
export async function untilKnown(source: Source, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const look = (): void => {
    const { isInSync, isRemembered } = source.state().snapshot;
    if (isInSync || isRemembered === true) resolve();
  };
  using _subscription = source.subscribe(look);
  const late = setTimeout(resolve, inSyncMs);
  signal.addEventListener("abort", () => resolve(), { once: true });
  look();
  await promise;
  clearTimeout(late);
}

/** Has the supervisor keep the sockets for the next start, where there is one that does. */
export function keepSockets(server: Pick<DnsServer, "sockets">, log: Log): void {
  try {
    storeDescriptors(process.env, server.sockets());
  } catch (thrown) {
    log.warn({ err: toError(thrown) }, "the supervisor does not keep the sockets");
  }
}
