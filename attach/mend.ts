import { familyOf } from "../core/address.ts";
import { diffByKey } from "../core/diff.ts";
import { KernelError, hasErrno } from "../core/error.ts";
import { type Applied, describeApplied, type Finding } from "../core/finding.ts";
import { formatChange } from "../core/format-change.ts";
import {
  type AttachmentKey,
  type IfName,
  hostInterfaceName,
  isEndingGroup,
  isPodHostInterface,
  routeProtocol,
} from "../core/names.ts";
import type { InterfaceAddress, Link, LinkSettings, Route } from "../core/network.ts";
import { addressKind, neighborKind, type ObjectKind, routeKind } from "../core/object-kind.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { AttachScope } from "./context.ts";
import { followNew } from "./follow.ts";
import { missing } from "./observe.ts";
import type { AttachmentRecord } from "./records.ts";
import { applyFindings } from "./refused-source.ts";
import { Unmended } from "./unmended.ts";
import { type WiredEnd, type Wiring, hasHostPorts, wire } from "./wiring.ts";

/** Of those that seem whole, looked at closely at each look at all: 0.2 ms each. */
const closelyAtOnce = 32;

/** Puts back what somebody else took from, or altered at, the attachments' ends at the node. */
export class Mender {
  readonly #scope: AttachScope;
  readonly #unmended = new Unmended();
  /** Where the next look at all goes on looking closely. */
  #next = 0;

  constructor(scope: AttachScope) {
    this.#scope = scope;
  }

  /**
   * The interface up, with its MAC, MTU and filters; routes, neighbors and shaping. An interface that is
   * gone stays gone: the next ADD makes it. What a request is at work on is left to it, and so is what
   * others added. Gives what was put back; failures are logged.
   * @param devices host interfaces to look at; absent: at all of them for what is seen at a glance, and
   * at some of them closely, others each time.
   */
  mend(devices?: Iterable<string>): readonly Applied[] {
    const { records } = this.#scope;
    const suspects =
      devices === undefined
        ? this.#suspects()
        : Array.from(devices).flatMap((device) => records.readOf(device) ?? []);
    return suspects.flatMap((record) => this.#mendOne(record));
  }

  /** What the kernel refuses, as sentences; tried again at each look at all. */
  unmended(): readonly string[] {
    return this.#unmended.sentences();
  }

  #mendOne({ key, wired }: AttachmentRecord): readonly Applied[] {
    const device = hostInterfaceName(key);
    try {
      const done = mendOne(this.#scope, key);
      this.#unmended.delete(device);
      return done;
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      this.#unmended.add(device, wired?.wiring.alias, error);
      this.#scope.log.error(
        { ...key, err: error },
        "cannot put back what is missing of an attachment",
      );
      return [];
    }
  }

  #suspects(): readonly AttachmentRecord[] {
    const { kernel, records } = this.#scope;
    const list = records.list().records;
    this.#unmended.keep(new Set(list.map(({ key }) => hostInterfaceName(key))));
    if (list.length === 0) return [];
    followNew(this.#scope, list);
    const links = new Map(kernel.links().map((link) => [link.name, link]));
    const present = linesOf(kernel.routes({ protocol: routeProtocol }));
    const from = this.#next % list.length;
    this.#next = from + closelyAtOnce;
    return list.filter((record, i) => {
      const device = hostInterfaceName(record.key);
      if (this.#unmended.has(device)) return true;
      const link = links.get(device);
      if (link === undefined) return false;
      const isTurn = (i - from + list.length) % list.length < closelyAtOnce;
      return isTurn || !seemsWhole(record, link, present);
    });
  }
}

function seemsWhole({ key, wired }: AttachmentRecord, link: Link, present: Set<string>): boolean {
  const host = wired && wire(key, wired.wiring).host;
  if (host === undefined || link.index !== host.index) return true;
  return link.isUp && host.routes.every((route) => present.has(lineOf(route)));
}

// Looked at under the lock: a request may have ended in between.
/** Throws KernelError for what the kernel refuses, having done the rest. */
function mendOne(scope: AttachScope, key: AttachmentKey): readonly Applied[] {
  const { kernel, records, log } = scope;
  using lock = records.tryLock(key);
  const record = lock && records.read(key);
  const device = hostInterfaceName(key);
  const link = kernel.link(device);
  if (record?.wired === undefined || link?.index !== record.wired.wiring.hostIndex) return [];
  // A DEL took it down, and did not come to its end.
  if (isEndingGroup(link.group)) return [];
  const wiring = ofThisNode(scope, record.wired.wiring);
  const { host } = wire(key, wiring);
  const findings = [...linkFindings(scope, host, wiring, link), ...objectFindings(scope, host)];
  const settings = settingFindings(scope, host);
  if (findings.length === 0 && settings.length === 0) return [];
  if (wiring !== record.wired.wiring) {
    records.write({ ...record, wired: { ...record.wired, wiring } });
  }
  // Before the routes, which the kernel takes by the settings.
  for (const { name, value } of settings) kernel.writeSysctl(name, value);
  const done = [...settings, ...putBack(scope, host, findings)];
  if (done.length === 0) return [];
  log.warn({ ...key, repairs: done.map(describeApplied) }, "put back what was taken from a pod");
  return done;
}

/**
 * With an address that the node loses, the kernel drops the routes that have it as their source, and takes
 * none that has.
 */
function ofThisNode({ nodeFacts }: AttachScope, wiring: Wiring): Wiring {
  try {
    const { nodeAddresses } = nodeFacts();
    const isSame = nodeAddresses.join() === wiring.nodeAddresses.join();
    return isSame ? wiring : { ...wiring, nodeAddresses };
  } catch {
    // Nothing is known of the node yet.
    return wiring;
  }
}

function linkFindings(
  { kernel }: AttachScope,
  { device, mac }: WiredEnd,
  wiring: Wiring,
  link: Link,
): readonly Finding[] {
  const setting = (name: string): string | undefined =>
    kernel.readSysctl(`net/ipv4/conf/${device}/${name}`);
  const pairs: readonly (readonly [LinkSettings, LinkSettings])[] = [
    [{ mtu: wiring.mtu }, { mtu: link.mtu }],
    [{ mac }, link.mac === undefined ? {} : { mac: link.mac }],
    [{ rpFilter: 1 }, { rpFilter: rpFilterOf(setting("rp_filter")) }],
    [{ forwarding: true }, { forwarding: setting("forwarding") !== "0" }],
    ...(hasHostPorts(wiring, 4)
      ? [[{ routeLocalnet: true }, { routeLocalnet: setting("route_localnet") !== "0" }] as const]
      : []),
    [{ linkLocal: false }, { linkLocal: makesLinkLocal(kernel, device) }],
    [{ isUp: true }, { isUp: link.isUp }],
  ];
  const different = pairs.filter(([want, found]) => JSON.stringify(want) !== JSON.stringify(found));
  if (different.length === 0) return [];
  const merged = (side: 0 | 1): LinkSettings =>
    different.reduce<LinkSettings>((all, pair) => ({ ...all, ...pair[side] }), {});
  return [
    {
      change: { kind: "set-link", device, settings: merged(0) },
      found: { kind: "set-link", device, settings: merged(1) },
    },
  ];
}

/** An MTU below IPv6's least takes all its settings with it, and with a greater one it begins with the usual ones. */
function makesLinkLocal(kernel: Pick<Kernel, "readSysctl">, device: IfName): boolean {
  const mode = kernel.readSysctl(`net/ipv6/conf/${device}/addr_gen_mode`);
  return mode !== undefined && mode !== "1";
}

/** Absent, as where there is no IPv4: nothing to put right. */
function rpFilterOf(text: string | undefined): 0 | 1 | 2 {
  if (text === "0") return 0;
  return text === "2" ? 2 : 1;
}

/** What has no link attribute. Absent settings are those of a kernel without IPv6. */
function settingFindings({ kernel }: AttachScope, { device, neighbors }: WiredEnd) {
  if (!neighbors.some(({ address }) => familyOf(address) === 6)) return [];
  const name = `net/ipv6/conf/${device}/disable_ipv6`;
  const now = kernel.readSysctl(name);
  if (now === undefined || now === "0") return [];
  const what = `sysctl ${name} = 0`;
  return [{ kind: "sysctl" as const, what, found: `${name} = ${now}`, name, value: "0" }];
}

/** A route in the place of ours is replaced, whoever made it: until then the pod is cut off. */
function putBack(
  { kernel }: AttachScope,
  host: WiredEnd,
  findings: readonly Finding[],
): readonly Finding[] {
  const { device } = host;
  try {
    return applyFindings(kernel, device, findings);
  } catch (cause) {
    if (!hasErrno(cause, "EEXIST")) throw cause;
  }
  // All but what was refused is done: the kernel goes on after a refusal. Another pod's way is left to that pod.
  const isOfOther = (route: Route): boolean =>
    route.device !== device && isPodHostInterface(route.device);
  const others = kernel.routes({}).filter((route) => !isOfOther(route));
  const taken = routeFindings(host, others);
  const left = new Set(taken.map(routeOf));
  const isDone = (finding: Finding): boolean => !left.has(routeOf(finding));
  return [...findings.filter(isDone), ...applyFindings(kernel, device, taken)];
}

const routeOf = ({ change }: Finding): Route | undefined =>
  "route" in change ? change.route : undefined;

function objectFindings({ kernel }: AttachScope, host: WiredEnd): readonly Finding[] {
  const { device } = host;
  const isMade = ({ address }: InterfaceAddress): boolean => address.startsWith("fe80:");
  const made = makesLinkLocal(kernel, device) ? kernel.addresses(device).filter(isMade) : [];
  return [
    ...made.map((address): Finding => ({
      change: addressKind.remove(address),
      found: addressKind.put(address),
    })),
    ...routeFindings(host, kernel.routes({ device })),
    ...findingsOf(neighborKind, host.neighbors, kernel.neighbors(device)),
    ...(host.shaping === undefined ? [] : missing(kernel, host))
      .filter(({ kind }) => kind === "replace-shaping")
      .map((change) => ({ change })),
  ];
}

/** Of none that was found nothing is known of what may be in its place. */
const routeFindings = ({ routes }: WiredEnd, observed: readonly Route[]): readonly Finding[] =>
  findingsOf(routeKind, routes, observed).map(({ change, found }) =>
    found === undefined && change.kind === "replace-route"
      ? { change: { ...change, kind: "add-route" } }
      : { change, ...(found !== undefined && { found }) },
  );

function findingsOf<T>(
  kind: ObjectKind<T>,
  wanted: readonly T[],
  observed: readonly T[],
): readonly Finding[] {
  const byKey = new Map(wanted.map((item) => [kind.keyOf(item), item]));
  const found = new Map(observed.map((item) => [kind.keyOf(item), item]));
  return diffByKey(byKey, observed, kind).put.map((item) => {
    const other = found.get(kind.keyOf(item));
    return { change: kind.put(item), ...(other !== undefined && { found: kind.put(other) }) };
  });
}

const lineOf = (route: Route): string => formatChange({ kind: "add-route", route });

const linesOf = (routes: readonly Route[]): Set<string> => new Set(routes.map(lineOf));
