import { isDeepStrictEqual } from "node:util";
import { type Ip, cidrOf } from "../core/address.ts";
import { type PodName, podNameOf } from "../core/cni/pod-name.ts";
import type { AttachmentRequest, CniResult, CniRoute, NetConf } from "../core/cni/types.ts";
import { toError } from "../core/error.ts";
import { hostInterfaceName } from "../core/names.ts";
import type { NodeFacts } from "../core/node-facts.ts";
import type { Sandbox } from "../kernel/kernel.ts";
import {
  hasOwnIpam,
  needsInterface,
  releaseAddresses,
  requireIpam,
  reserveAddresses,
} from "./addresses.ts";
import type { AttachScope } from "./context.ts";
import { detach, takeApart } from "./del.ts";
import { hostPortDifferences, requireFreePorts } from "./host-ports.ts";
import { differences, leaseDifferences } from "./observe.ts";
import { type BegunPair, type PairIndexes, type PairRequest, beginPair, makePair } from "./pair.ts";
import type { PodRoute } from "./wiring.ts";
import type { AttachmentRecord } from "./records.ts";
import { LeaseRestorer } from "./restore.ts";
import { afterPrevious, podDns, resultOf } from "./result.ts";
import { isSameNamespace, openRequestedSandbox } from "./sandbox.ts";
import { UsedAddressError } from "./used-addresses.ts";

/** How long an ADD that failed may take to undo what it did, whatever became of the request. */
const undoDeadlineMs = 5_000;

/**
 * Gives a sandbox its interface. A repeated request for an attachment that is whole gives the same
 * result; one for an attachment that is not (a killed ADD, a sandbox made anew) builds it again, with
 * the same addresses where they are our own leases. After a failure nothing is left.
 */
export async function add(
  scope: AttachScope,
  request: AttachmentRequest,
  signal: AbortSignal,
): Promise<CniResult> {
  return afterPrevious(request.conf, await addOwn(scope, request, signal));
}

async function addOwn(
  scope: AttachScope,
  request: AttachmentRequest,
  signal: AbortSignal,
): Promise<CniResult> {
  const facts = scope.nodeFacts();
  requireIpam(scope, request, facts);
  using opened = new DisposableStack();
  const sandbox = opened.use(openRequestedSandbox(scope.kernel, request));
  opened.use(await scope.records.lock(request.key, signal));
  const previous = scope.records.read(request.key);
  const whole = previous && (await resultIfWhole(scope, { request, previous, sandbox }, signal));
  if (whole !== undefined) return whole;
  try {
    if (previous !== undefined) await clearPrevious(scope, { request, previous }, signal);
    const result = await attachWhereFree(scope, { request, sandbox, facts, previous }, signal);
    scope.putOff?.(opened.move());
    return result;
  } catch (cause) {
    await undo(scope, request);
    throw cause;
  }
}

interface Attaching {
  readonly request: AttachmentRequest;
  readonly sandbox: Sandbox;
  readonly facts: NodeFacts;
  /** Of what an earlier ADD left, which is taken apart by now. */
  readonly previous: AttachmentRecord | undefined;
  /** Not to be given: the node reaches them elsewhere. */
  readonly used?: readonly Ip[];
}

/**
 * With other addresses, where the node reaches those that were given elsewhere: of a running pod the lease
 * was lost, which is written again first.
 */
async function attachWhereFree(
  scope: AttachScope,
  attaching: Attaching,
  signal: AbortSignal,
): Promise<CniResult> {
  const { request } = attaching;
  let used: readonly Ip[] = [];
  for (let attempt = 1; ; attempt++) {
    try {
      return await attach(scope, { ...attaching, used }, signal);
    } catch (cause) {
      const isOver = attempt === mostAttempts || !hasOwnIpam(request.conf);
      if (isOver || !(cause instanceof UsedAddressError)) throw cause;
      ({ used } = cause);
      scope.log.warn(
        { ...request.key, err: cause },
        "an address that was free by its lease is in use",
      );
      await undo(scope, request);
      await new LeaseRestorer(scope).run(signal);
    }
  }
}

/** Once more is enough, unless a lease is lost in between. */
const mostAttempts = 3;

async function attach(
  scope: AttachScope,
  { request, sandbox, facts, previous, used = [] }: Attaching,
  signal: AbortSignal,
): Promise<CniResult> {
  const { key, netns, conf } = request;
  const { ipam } = conf;
  const pod = podNameOf(request.args);
  const record: AttachmentRecord = {
    key,
    sandbox: { path: netns, ...sandbox.identity },
    ...(pod !== undefined && { pod }),
    ...(conf.aliases && { aliases: conf.aliases }),
    ipam: {
      type: ipam.type,
      ...(ipam.dataDir !== undefined && { dataDir: ipam.dataDir }),
      ...(!hasOwnIpam(conf) && { request: conf.raw }),
    },
    createdAtMs: scope.clock.nowMs(),
  };
  if (previous !== undefined || !isFoundByLease(conf)) scope.records.write(record);
  const bare = {
    addresses: [],
    routes: [],
    nodeAddresses: facts.nodeAddresses,
    mtu: conf.mtu ?? facts.mtu,
    ...(conf.mac && { podMac: conf.mac }),
    ...(pod !== undefined && { alias: aliasOf(pod) }),
  };
  const early = needsInterface(ipam.type)
    ? await makeBarePair(scope, { request, sandbox, wiring: bare }, signal)
    : undefined;
  await using begun =
    previous === undefined
      ? await beginBarePair(scope, { request, sandbox, wiring: bare })
      : undefined;
  const assignment = await reserveAddresses(scope, request, { ...record, used }, signal);
  const { addresses } = assignment;
  scope.announcer.withhold(addresses);
  const wiring = {
    ...bare,
    addresses,
    routes: assignment.routes.map(podRouteOf),
    ...(conf.bandwidth && { bandwidth: conf.bandwidth }),
    ...(conf.portMappings && { portMappings: conf.portMappings }),
  };
  const dns = podDns(request, facts, assignment.dns);
  const given = assignment.given === undefined ? {} : { given: assignment.given };
  await scope.reaper.whenGone(hostInterfaceName(key), addresses);
  signal.throwIfAborted();
  // From here to the ports' opening in one turn: no other request comes in between.
  requireFreePorts(scope, key, wiring);
  const made = await makePair(scope, {
    request,
    sandbox,
    wiring,
    made: early,
    begun,
    signal,
    onChosen: (chosen) =>
      scope.records.write({ ...record, wired: { wiring: chosen, dns, ...given } }),
  });
  const works = { ...record, wired: { wiring: made, dns, ...given } };
  const result = resultOf(key, netns, made, dns);
  afterAnswer(scope, () => scope.announcer.announce(works));
  return result;
}

/** At once where nobody puts off. */
function afterAnswer({ putOff }: AttachScope, act: () => void): void {
  if (putOff === undefined) act();
  else putOff({ [Symbol.dispose]: act });
}

/**
 * Whether an ADD that is killed once it has addresses, and before it has its record, is found without one:
 * the node's own leases say whose they are, and DEL, GC and the sweep of leases free them by that. Elsewhere
 * only a record says whom to ask.
 */
const isFoundByLease = (conf: NetConf): boolean =>
  hasOwnIpam(conf) && conf.ipam.dataDir === undefined;

/** The pair alone, down, in another thread: where addresses are reserved without a wait. */
async function beginBarePair(
  scope: AttachScope,
  pair: Pick<PairRequest, "request" | "sandbox" | "wiring">,
): Promise<BegunPair | undefined> {
  const { key, conf } = pair.request;
  if (!isFoundByLease(conf)) return undefined;
  await scope.reaper.whenGone(hostInterfaceName(key), []);
  return beginPair(scope, pair);
}

/** The pair alone, up: for an IPAM plugin that asks over it. What undoes the rest undoes it too. */
async function makeBarePair(
  scope: AttachScope,
  pair: Pick<PairRequest, "request" | "sandbox" | "wiring">,
  signal: AbortSignal,
): Promise<PairIndexes> {
  await scope.reaper.whenGone(hostInterfaceName(pair.request.key), []);
  signal.throwIfAborted();
  const { hostIndex, podIndex } = await makePair(scope, { ...pair, signal, onChosen: () => {} });
  return { hostIndex, podIndex };
}

interface Repetition {
  readonly request: AttachmentRequest;
  readonly previous: AttachmentRecord;
}

/** The first ADD's result, when all that it made is still there, and in this very sandbox. */
async function resultIfWhole(
  scope: AttachScope,
  { request, previous, sandbox }: Repetition & { readonly sandbox: Sandbox },
  signal: AbortSignal,
): Promise<CniResult | undefined> {
  const { key, netns } = request;
  const problems = await problemsOf(scope, { request, previous, sandbox }, signal);
  if (previous.wired !== undefined && problems.length === 0) {
    scope.announcer.announce({ ...previous, wired: previous.wired });
    return resultOf(key, netns, previous.wired.wiring, previous.wired.dns);
  }
  scope.log.info({ ...key, netns, problems }, "an earlier attachment is not whole: made again");
  return undefined;
}

/** What of the wiring the runtime decides by itself. */
const asked = ["bandwidth", "portMappings"] as const;

async function problemsOf(
  scope: AttachScope,
  { request, previous, sandbox }: Repetition & { readonly sandbox: Sandbox },
  signal: AbortSignal,
): Promise<readonly string[]> {
  const { wired } = previous;
  if (wired === undefined) return ["the request ended before its addresses were reserved"];
  if (!isSameNamespace(previous.sandbox, sandbox.identity)) return ["it is in another sandbox"];
  const otherwise = asked.filter(
    (name) => !isDeepStrictEqual(wired.wiring[name], request.conf[name]),
  );
  // A later plugin may have set another MAC, which is the pod's then.
  const { mac } = request.conf;
  if (mac !== undefined && mac !== wired.wiring.podMac) return ["another mac is asked for"];
  if (otherwise.length > 0) return otherwise.map((name) => `another ${name} is asked for`);
  return [
    ...differences(scope.kernel, sandbox, request.key, wired.wiring),
    ...hostPortDifferences(scope.kernel, wired.wiring),
    ...(await leaseDifferences(scope, request, wired.wiring, signal)),
  ];
}

/** What an earlier ADD left, but for leases that `reserve` gives again. */
async function clearPrevious(
  scope: AttachScope,
  { request, previous }: Repetition,
  signal: AbortSignal,
): Promise<void> {
  const { ipam } = request.conf;
  const isKept = hasOwnIpam(request.conf) && previous.ipam.dataDir === ipam.dataDir;
  await takeApart(scope, {
    key: request.key,
    record: previous,
    release: async () => {
      if (!isKept) await releaseAddresses(scope, request, previous, signal);
    },
    reap: "wait",
  });
}

// With a deadline of its own: the request's signal may be why the ADD failed.
async function undo(scope: AttachScope, request: AttachmentRequest): Promise<void> {
  const { key } = request;
  const signal = AbortSignal.timeout(undoDeadlineMs);
  try {
    const record = scope.records.read(key);
    await detach(scope, {
      key,
      record,
      release: () => releaseAddresses(scope, request, record, signal),
      reap: "wait",
    });
  } catch (thrown) {
    scope.log.error({ ...key, err: toError(thrown) }, "cannot undo a failed ADD: left to DEL");
  }
}

// A route's own gateway is left out: the pod has one neighbor, its node.
const podRouteOf = ({ dst, priority, table }: CniRoute): PodRoute => ({
  destination: cidrOf(dst.address, dst.prefixLength),
  ...(priority !== undefined && priority > 0 && { metric: priority }),
  ...(table !== undefined && { table }),
});

const aliasOf = ({ namespace, name }: PodName): string => `fairlead:${namespace}/${name}`;
