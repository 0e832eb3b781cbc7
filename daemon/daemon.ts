// The parts of the daemon, wired: each over the ones before it, and stopped in the reverse order.
import { readdirSync, readFileSync } from "node:fs";
import { type AttachContext, type AttachHandlers, createHandlers } from "../attach/handlers.ts";
import { openAttachLock } from "../attach/lock.ts";
import { openRecords, type RecordStore } from "../attach/records.ts";
import type { Ip } from "../core/address.ts";
import type { Clock } from "../core/clock.ts";
import type { CniHandlers } from "../core/cni/types.ts";
import type { PlanSettings } from "../core/desired/plan.ts";
import { hasErrno } from "../core/error.ts";
import type { Log } from "../core/log.ts";
import type { NodeFacts } from "../core/node-facts.ts";
import type { Paths } from "../core/paths.ts";
import { RepairLedger } from "../core/repair-ledger.ts";
import type { StatusReport } from "../core/status.ts";
import type { PodBook } from "../dns/cluster/pod-book.ts";
import type { DnsServer } from "../dns/server.ts";
import { createIpamHandlers } from "../ipam/handlers.ts";
import type { Ipam } from "../ipam/ipam.ts";
import { openIpam } from "../ipam/store.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { readNodeFacts } from "../kernel/node-facts.ts";
import { systemRandom } from "../kernel/random.ts";
import { isFirstSinceReboot, rememberBoot } from "./attachments/earlier-boot.ts";
import { type LeaseCare, careForLeases } from "./attachments/lease-care.ts";
import { Mending } from "./attachments/mending.ts";
import { serveCni } from "./cni/cni-server.ts";
import { keepServing } from "./cni/kept-socket.ts";
import { type PairMaking, openPairMaking } from "./cni/pair-making.ts";
import { PutOff } from "./cni/put-off.ts";
import { type Config, podNetworks } from "./config/config.ts";
import type { LiveConfig } from "./config/live-config.ts";
import { serveDnsQueries } from "./dns/dns-queries.ts";
import { keepSockets, openDns, type RunningDns, untilKnown } from "./dns/dns.ts";
import { serveHandOver } from "./dns/hand-over.ts";
import { announcerTo, knowPods, liftingGiven, type PodKnowledge } from "./dns/pod-names.ts";
import { factsAfter } from "./node/node-facts.ts";
import { NodeFiles } from "./node/node-files.ts";
import { rememberSysctl } from "./node/sysctl-record.ts";
import { type OpenSource, openSource } from "./open-source.ts";
import type { OwnNode } from "./source/source-context.ts";
import { AddressWatch } from "./reconcile/address-watch.ts";
import { hintAtMissingNode } from "./reconcile/missing-node.ts";
import { Reconciler, type ReconcilerOptions } from "./reconcile/reconcile.ts";
import type { Source } from "./source/source.ts";
import { serveHealth } from "./status/health.ts";
import { buildReport, unreadiness } from "./status/report.ts";
import { serveStatus } from "./status/status.ts";

export interface DaemonContext {
  readonly live: LiveConfig;
  readonly paths: Paths;
  /** The node's namespace. Stays the caller's. */
  readonly kernel: Kernel;
  readonly clock: Clock;
  readonly log: Log;
  readonly sockets: SocketCare;
}

/** Where the sockets that names are asked at come from, and who gets them. */
export interface SocketCare {
  readonly given: readonly number[];
  /** They are of a daemon that still runs. */
  readonly isReplacing: boolean;
  /** Tells that daemon to go, and resolves when it has. */
  readonly becomeOnly: () => Promise<void>;
  /** Resolves with the first becomeOnly() that has. */
  readonly alone: Promise<void>;
  /** Another daemon has taken the place of this one. */
  readonly leave: () => void;
}

// Requests that the plugin serves by itself at this moment come first; each takes 20 s at most.
const attachLockDeadlineMs = 25_000;

/** With the configuration of the start. */
interface StartContext extends DaemonContext {
  readonly config: Config;
  /** One for all parts: what ADD has written, nobody reads again. */
  readonly records: RecordStore;
}

const startContextOf = (given: DaemonContext): StartContext => ({
  ...given,
  config: given.live.current,
  records: openRecords({ ...given, directory: given.paths.attachments }),
});

/**
 * Starts all parts. Resolves when CNI requests and queries are served, which does not wait for the node
 * to be ready. Disposed, it takes no more requests, finishes those at work and leaves the data path,
 * the records and node.json as they are.
 */
export async function startDaemon(
  given: DaemonContext,
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  const { live, paths, log, clock } = given;
  const context = startContextOf(given);
  const { config } = context;
  const startedAtMs = clock.monotonicMs();
  await using stack = new AsyncDisposableStack();
  const ledger = new RepairLedger();
  const files = stack.use(openNodeFiles(context, ledger));
  let facts: NodeFacts | undefined;
  const nodeFacts = () => facts ?? readNodeFacts(paths);
  const serving = { pairs: stack.use(openPairMaking(log)), putOff: stack.use(new PutOff(log)) };
  const ipam = openLeases(context, serving.putOff);
  const known = () => facts ?? knownFacts(paths);
  const { source, named } = stack.use(await openKnownSource({ ...context, ipam, known }, signal));
  // Hears of news before the reconciler: names go before the ways.
  const names = stack.use(knowPods({ source, nodeName: config.nodeName }));
  const taken = stack.use(await openDnsInPlace(context, named, names.book));
  const programs = openPrograms(context, { ipam, nodeFacts, names, ...serving });
  const { handlers } = programs;
  stack.defer(() => handlers.settled());
  const firstPass = Promise.withResolvers<void>();
  const bootId = readFileSync(paths.bootId, "utf8").trim();
  let isServing = false;
  // The conflist brings the runtime's requests and the pods' queries: it waits for who answers them.
  const publish = (): void => {
    if (isServing && facts !== undefined) files.publish(facts);
  };
  const onPass: ReconcilerOptions["onPass"] = (state) => {
    names.passed(state);
    const before = facts;
    facts = factsAfter(state, { config, bootId, known }) ?? facts;
    publish();
    if (facts?.nodeAddresses.join() !== before?.nodeAddresses.join()) mending.lookAtAll();
    firstPass.resolve();
  };
  const mending = stack.use(new Mending({ handlers, ledger, clock, log }));
  const reconciler = stack.use(openReconciler(context, { source, ledger, onPass, mending }));
  stack.use(await openCniSocket(context, { ...programs, bootId, ...serving }, signal));
  mending.start();
  await Promise.race([firstPass.promise, abortOf(signal)]);
  const care = stack.use(openLeaseCare(context, { ipam, handlers }));
  const addresses = stack.use(new AddressWatch({ ipam, facts: () => facts, log, source }));
  // Its addresses are in the kernel now, or will be: it binds them as soon as it can.
  const dns = taken ?? stack.use(await openDnsLate(context, source, names.book));
  live.subscribe((next) => {
    reconciler.use(planSettings(next));
    dns?.follow(next);
  });
  const telling = stack.use(source.tell?.(() => report()));
  const report = (): StatusReport =>
    buildReport({
      config: live.current,
      configProblems: live.problems,
      source,
      untold: telling?.problems ?? [],
      state: reconciler.state(),
      counters: reconciler.counters,
      ledger,
      files,
      addresses,
      sweep: care.status(),
      dns: dns?.report(),
      attachments: { recorded: countRecords(paths.attachments), unmended: handlers.unmended() },
      uptimeMs: clock.monotonicMs() - startedAtMs,
    });
  stack.use(await serveReports(context, { report, reconciler, files, dns: dns?.server }));
  isServing = true;
  publish();
  return stack.move();
}

const openNodeFiles = ({ paths, config, clock, log }: StartContext, ledger: RepairLedger) =>
  new NodeFiles({ paths, confDir: config.cni.confDir, ledger, clock, log });

/** What the daemon before this one found out, in this boot. */
function knownFacts(paths: Paths): NodeFacts | undefined {
  try {
    return readNodeFacts(paths);
  } catch {
    // None, of another boot, or damaged: nothing that an ADD could go by either.
    return undefined;
  }
}

interface Reporting {
  readonly report: () => StatusReport;
  readonly reconciler: Reconciler;
  readonly files: NodeFiles;
  readonly dns: DnsServer | undefined;
}

/** To `fairlead status`, probes and Prometheus. */
async function serveReports(
  { config, paths, log }: StartContext,
  { report, reconciler, files, dns }: Reporting,
): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const path = paths.statusSocket;
  stack.use(await keepServing({ path, serve: () => serveStatus(path, report, log), log }));
  // Loaded for who asks: many nodes are never asked.
  const metrics = async (): Promise<string> =>
    (await import("./status/metrics.ts")).formatMetrics({
      report: report(),
      reconcile: reconciler.counters,
      fileRepairs: files.repairs,
      ...(dns && { dns }),
      residentBytes: process.memoryUsage.rss(),
      cpuSeconds: (process.cpuUsage().user + process.cpuUsage().system) / 1e6,
    });
  const unready = () => unreadiness(report());
  stack.use(serveHealth({ ...config.metrics, unready, metrics, log }));
  return stack.move();
}

function openLeaseCare(
  context: StartContext,
  parts: { readonly ipam: Ipam; readonly handlers: AttachHandlers },
): LeaseCare {
  const graceMs = 1000 * context.config.network.ipam.leaseGraceSeconds;
  return careForLeases({ ...context, ...parts, graceMs });
}

/** One store for both programs: what one of them writes, the other need not read. */
function openLeases({ kernel, clock, log }: StartContext, putOff: PutOff): Ipam {
  const trackedAmong = (asked: readonly Ip[]) => kernel.trackedAmong(asked);
  return openIpam({
    clock,
    log,
    tracking: { trackedAmong, when: "asked to" },
    putOff: (leftover) => putOff.add(leftover),
  });
}

interface AttachParts extends Pick<AttachContext, "ipam" | "nodeFacts"> {
  readonly names: PodKnowledge;
  readonly pairs: PairMaking;
  readonly putOff: PutOff;
}

/** What serves requests of the launcher, under either name. */
interface Programs {
  readonly handlers: AttachHandlers;
  readonly ipamHandlers: CniHandlers;
}

function openPrograms(
  context: StartContext,
  { ipam, nodeFacts, names, pairs, putOff }: AttachParts,
): Programs {
  const handlers = createHandlers({
    ...context,
    ipam,
    nodeFacts,
    announcer: announcerTo(names.book),
    random: systemRandom,
    reap: "background",
    putOff: (thing) => putOff.add(thing),
    ...(pairs.makers && { pairMakers: pairs.makers }),
  });
  const own = createIpamHandlers({ ipam, facts: nodeFacts, log: context.log });
  return { handlers, ipamHandlers: liftingGiven(own, names.book) };
}

function openReconciler(
  { config, paths, kernel, clock, log, records }: StartContext,
  parts: Pick<ReconcilerOptions, "source" | "ledger" | "onPass"> & { readonly mending: Mending },
): Reconciler {
  const { source, mending } = parts;
  const { nodeName, network } = config;
  return new Reconciler({
    ...parts,
    kernel,
    settings: planSettings(config),
    removalGraceMs: config.cluster.removalGraceSeconds * 1000,
    missingNodeHint: (membership, links) =>
      hintAtMissingNode({ nodeName, network, source, membership, links }),
    hostPorts: () => records.hostPortClaims(),
    podAddresses: () => records.podAddresses(network.name),
    rememberSysctl: (name, value) => rememberSysctl(paths.sysctls, name, value),
    onPods: (event) => mending.notice(event),
    onElsewhere: (event) => mending.noticeElsewhere(event),
    clock,
    log,
  });
}

export const planSettings = ({ nodeName, network, dns }: Config): PlanSettings => ({
  nodeName,
  podCidrs: podNetworks(network),
  backend: network.backend,
  ...network.vxlan,
  mtu: network.mtu,
  interface: network.interface,
  masquerade: network.masquerade,
  dnsAddresses: dns.isEnabled ? dns.addresses : [],
  isDnsAhead: dns.isAhead,
});

interface CniServing extends Programs {
  readonly pairs: PairMaking;
  readonly putOff: PutOff;
  readonly bootId: string;
}

/** Requests that are served without a daemon are let finish before the first sweep, and none begins. */
async function openCniSocket(
  { config, paths, clock, log }: StartContext,
  { handlers, ipamHandlers, pairs, putOff, bootId }: CniServing,
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  const lock = { path: paths.attachLock, clock, deadlineMs: attachLockDeadlineMs };
  using _exclusive = await openAttachLock("exclusive", lock, signal);
  await handlers.sweep(signal);
  const boot = { path: paths.lastBoot, bootId };
  if (isFirstSinceReboot(boot)) await handlers.freeUnrecorded(config.network.name, signal);
  rememberBoot(boot);
  const path = paths.cniSocket;
  const programs = { fairlead: handlers, "fairlead-ipam": ipamHandlers };
  const serve = () =>
    serveCni({ socketPath: path, handlers: programs, log, putOff, onWaiting: pairs.onWaiting });
  return await keepServing({ path, serve, log });
}

/** Where queries wait in sockets, the ways to other nodes stand already: nothing of them is news. */
async function openKnownSource(
  context: StartContext & OwnNode,
  signal: AbortSignal,
): Promise<OpenSource> {
  const { sockets } = context;
  const { isReplacing, alone } = sockets;
  const opened = await openSource(context, { ...context, ...(isReplacing && { alone }) }, signal);
  if (sockets.given.length > 0) await untilKnown(opened.named, signal);
  return opened;
}

/** One that has another's sockets answers names first; all else waits until that one has gone. */
async function openDnsInPlace(
  context: StartContext,
  source: Source,
  book: PodBook,
): Promise<RunningDns | undefined> {
  const { sockets, log } = context;
  if (sockets.given.length === 0 && !sockets.isReplacing) return undefined;
  const dns = await openDns({ ...context, given: sockets.given }, source, book);
  await using stack = new AsyncDisposableStack();
  stack.use(dns);
  if (sockets.isReplacing) await sockets.becomeOnly();
  log.info({ sockets: sockets.given.length }, "took the sockets of the daemon before");
  stack.move();
  return dns && (await servedOn(context, dns, book));
}

async function openDnsLate(
  context: StartContext,
  source: Source,
  book: PodBook,
): Promise<RunningDns | undefined> {
  const dns = await openDns({ ...context, given: context.sockets.given }, source, book);
  return dns && (await servedOn(context, dns, book));
}

/** What only one daemon does. */
async function servedOn(
  context: StartContext,
  dns: RunningDns,
  book: PodBook,
): Promise<RunningDns> {
  const { config, paths, log } = context;
  const { server, stack } = dns;
  const queries = { path: paths.dnsSocket, server, book, own: config.dns.addresses, log };
  stack.use(await keepServing({ path: queries.path, serve: () => serveDnsQueries(queries), log }));
  stack.use(handOnSockets(context, dns));
  return dns;
}

/** To a supervisor that keeps them, and to a daemon that takes the place of this one. */
function handOnSockets({ paths, sockets, log }: StartContext, dns: RunningDns): Disposable {
  keepSockets(dns.server, log);
  return serveHandOver({
    path: paths.handOverSocket,
    sockets: () => dns.server.sockets(),
    onTaken: () => {
      log.info({}, "another daemon answers names: this one goes");
      dns.noteSuccessor();
      sockets.leave();
    },
    log,
  });
}

function countRecords(directory: string): number {
  try {
    return readdirSync(directory).filter((name) => name.endsWith(".json")).length;
  } catch (error) {
    if (hasErrno(error, "ENOENT")) return 0;
    throw error;
  }
}

const abortOf = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
