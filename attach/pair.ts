import { setTimeout } from "node:timers/promises";
import { familyOf } from "../core/address.ts";
import type { Random } from "../core/clock.ts";
import { CniCode, CniError } from "../core/cni/error.ts";
import type { AttachmentRequest } from "../core/cni/types.ts";
import { KernelError, hasErrno } from "../core/error.ts";
import { type AttachmentKey, hostInterfaceName, loopbackDevice } from "../core/names.ts";
import type { Change } from "../core/network.ts";
import type { BegunChanges, Sandbox } from "../kernel/kernel.ts";
import type { AttachScope } from "./context.ts";
import { removeInterface } from "./del.ts";
import { finishEnding } from "./finish-ending.ts";
import { openHostPorts } from "./host-ports.ts";
import { type AddPlan, planAdd, planBeginning, planContents, planRest } from "./plan.ts";
import { isSourceRefused } from "./refused-source.ts";
import { refuseUsed } from "./used-addresses.ts";
import type { Wiring } from "./wiring.ts";

export interface PairRequest {
  readonly request: AttachmentRequest;
  readonly sandbox: Sandbox;
  readonly wiring: Omit<Wiring, keyof PairIndexes>;
  /** A pair made before, without addresses: the rest is put on it. */
  readonly made?: PairIndexes | undefined;
  /** One that is being made, which the first attempt goes on with. */
  readonly begun?: BegunPair | undefined;
  readonly signal: AbortSignal;
  /** Told each time, before anything can reach the pod: what the kernel is about to be asked for. */
  readonly onChosen: (wiring: Wiring) => void;
}

export type PairIndexes = Pick<Wiring, "hostIndex" | "podIndex">;

/** Whoever began it disposes of it, before what it made is undone. */
export interface BegunPair extends BegunChanges {
  readonly indexes: PairIndexes;
}

const attemptLimit = 8;
// Above what the kernel gives by itself, which counts up from 1: a million devices from now. With a
// thousand pods one ADD in a million draws an index that is taken.
const firstIndex = 2 ** 20;
const indexCount = 2 ** 30;
// Twice the second after which the kernel looks at carriers at the latest (linkwatch).
const runningDeadlineMs = 2_000;

/**
 * Has another thread make the pair, alone, while its addresses are reserved and its record is written: what
 * the kernel does for it is the longest step of an ADD. Undefined where it is better made with the rest.
 */
export function beginPair(
  scope: AttachScope,
  { request, sandbox, wiring }: Pick<PairRequest, "request" | "sandbox" | "wiring">,
): BegunPair | undefined {
  if (makersFor(scope, request)?.isBeside() !== true) return undefined;
  const indexes = chooseIndexes(scope.random);
  const plan = planBeginning(request.key, { ...wiring, ...indexes }, sandbox.fd);
  const begun = scope.kernel.begin(plan);
  return begun && { ...begun, indexes };
}

// Host ports are opened in the turn in which they were found free: no other thread is waited for in between.
const makersFor = ({ pairMakers }: AttachScope, { conf }: AttachmentRequest) =>
  conf.portMappings === undefined ? pairMakers : undefined;

/**
 * Makes the veth pair and all that hangs on it. Throws CniError interfaceTaken when the sandbox has
 * another interface of that name, tryAgainLater when the node has lost its own address, UsedAddressError
 * when the node reaches an address elsewhere. What a failed attempt made is the caller's to undo.
 */
export async function makePair(
  scope: AttachScope,
  { request, sandbox, wiring, made, begun, signal, onChosen }: PairRequest,
): Promise<Wiring> {
  for (let attempt = 1; ; attempt++) {
    const going = attempt === 1 ? begun : undefined;
    const chosen = { ...wiring, ...(made ?? going?.indexes ?? chooseIndexes(scope.random)) };
    onChosen(chosen);
    const plan =
      made !== undefined
        ? planContents(request.key, chosen)
        : going !== undefined
          ? planRest(request.key, chosen)
          : planAdd(request.key, chosen, sandbox.fd);
    try {
      await going?.finish();
      const isRunning = await applyPlan(scope, plan, sandbox, request);
      if (plan.sandbox.some(isIpv6Change)) keepAddresses(scope, sandbox, request.key);
      openHostPorts(scope, request.key, chosen);
      if (!isRunning) await whenRunning(scope, request.key);
      return chosen;
    } catch (cause) {
      if (cause instanceof CniError) throw cause;
      if (isSourceRefused(cause)) throw lostAddress(chosen, cause);
      const isTaken = hasErrno(cause, "EEXIST", "EBUSY") && attempt < attemptLimit;
      if (isTaken)
        refuseUsed(scope.kernel, hostInterfaceName(request.key), chosen.addresses, cause);
      if (!isTaken || !(await makeWay(scope, { request, sandbox, wiring: chosen, signal }))) {
        throw new CniError(
          CniCode.internal,
          `Cannot make interface "${request.key.ifName}" in "${request.netns}"`,
          { cause },
        );
      }
    }
  }
}

const lostAddress = ({ nodeAddresses }: Wiring, cause: KernelError): CniError =>
  new CniError(
    CniCode.tryAgainLater,
    `Cannot attach the pod: the node has lost an address of its own (it had ${nodeAddresses.join(", ")}); give it back, or set the Node's address to the new one`,
    { cause },
  );

/** ADD's answer promises that packets arrive. The interface that was set up first has to be waited for. */
async function whenRunning({ kernel, clock, log }: AttachScope, key: AttachmentKey): Promise<void> {
  const device = hostInterfaceName(key);
  const giveUpAtMs = clock.monotonicMs() + runningDeadlineMs;
  while (!kernel.isRunning(device)) {
    if (clock.monotonicMs() >= giveUpAtMs) {
      log.warn({ ...key, device }, "a new interface does not carry packets yet");
      return;
    }
    await setTimeout(1);
  }
}

const chooseIndexes = (random: Random): PairIndexes => ({
  hostIndex: firstIndex + random.below(indexCount),
  podIndex: firstIndex + random.below(indexCount),
});

/**
 * After "exists already": removes what stands in the way where it is ours, and says whether to try
 * again.
 */
async function makeWay(
  scope: AttachScope,
  {
    request: { key, netns },
    sandbox,
    wiring,
    signal,
  }: Pick<PairRequest, "request" | "sandbox" | "signal"> & { readonly wiring: Wiring },
): Promise<boolean> {
  const host = scope.kernel.link(hostInterfaceName(key));
  // The pair itself was made; what exists already is somebody's route, or address.
  if (host?.index === wiring.hostIndex) return false;
  if (host !== undefined) {
    // This very attachment's, by its name: of a killed request whose record is lost, or taken down by
    // another process that has not removed it yet.
    await removeInterface(scope, key, undefined, "wait");
    return true;
  }
  // One of the indexes is taken: others are drawn.
  const podEnd = sandbox.link(key.ifName);
  if (podEnd === undefined || (await finishEnding(scope, podEnd, signal))) return true;
  throw new CniError(
    CniCode.interfaceTaken,
    `Cannot add interface "${key.ifName}" to "${netns}": it has one already that is not this attachment's`,
  );
}

/**
 * In a thread where there is one to take it, which in the event loop takes no turn of its own. Gives whether
 * the pair was seen to carry packets.
 */
async function applyPlan(
  scope: AttachScope,
  { host: node, sandbox: changes }: AddPlan,
  sandbox: Sandbox,
  request: AttachmentRequest,
): Promise<boolean> {
  const { key } = request;
  const thread = makersFor(scope, request)?.thread();
  if (thread === undefined) {
    scope.kernel.apply(node);
    applyInSandbox(sandbox, changes, key.ifName, () => sandbox.apply(changes));
    return false;
  }
  const device = hostInterfaceName(key);
  const outcome = await thread.make({ node, sandbox: changes, device, sandboxFd: sandbox.fd });
  if (outcome.kind === "made") return outcome.isRunning;
  if (outcome.batch === "node") throw outcome.error;
  applyInSandbox(sandbox, changes, key.ifName, () => {
    throw outcome.error;
  });
  return false;
}

/**
 * A sandbox with IPv6 switched off (disable_ipv6) refuses the addresses: it is switched on then, and
 * for `lo`, through which the pod reaches itself.
 */
function applyInSandbox(
  sandbox: Sandbox,
  changes: readonly Change[],
  ifName: string,
  apply: () => void,
): void {
  try {
    apply();
  } catch (cause) {
    const refused = changes.filter(isIpv6Change);
    if (refused.length === 0 || !hasErrno(cause, "EACCES")) throw cause;
    for (const device of [ifName, loopbackDevice]) {
      sandbox.writeSysctl(`net/ipv6/conf/${device}/disable_ipv6`, "0");
    }
    sandbox.apply(refused);
  }
}

/**
 * IPv6 addresses, as IPv4's do by themselves, outlive the pod's setting its interface down. 15 µs: there
 * is no link attribute for it.
 */
function keepAddresses({ log }: AttachScope, sandbox: Sandbox, key: AttachmentKey): void {
  try {
    sandbox.writeSysctl(`net/ipv6/conf/${key.ifName}/keep_addr_on_down`, "1");
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    log.warn({ ...key, err: error }, "an IPv6 address ends when its interface is set down");
  }
}

function isIpv6Change(change: Change): boolean {
  switch (change.kind) {
    case "add-address":
      return familyOf(change.address.address) === 6;
    case "add-route":
      return familyOf(change.route.destination) === 6;
    case "replace-neighbor":
      return familyOf(change.neighbor.address) === 6;
    default:
      return false;
  }
}
