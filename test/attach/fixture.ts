// One node with what the handlers need: leases and records in a temporary directory, and a kernel.
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentAnnouncer } from "../../attach/announcer.ts";
import type { AttachContext, PairMakers } from "../../attach/context.ts";
import { type AttachHandlers, createHandlers } from "../../attach/handlers.ts";
import { type RecordStore, openRecords } from "../../attach/records.ts";
import { ownIpamType } from "../../core/cni/config.ts";
import type { AttachmentRequest, NetConf, NetworkRequest } from "../../core/cni/types.ts";
import { type Log, type LogFields, silentLog } from "../../core/log.ts";
import { isPodHostInterface, routeProtocol } from "../../core/names.ts";
import type { NodeFacts } from "../../core/node-facts.ts";
import type { Ipam } from "../../ipam/ipam.ts";
import { openIpam } from "../../ipam/store.ts";
import { systemClock } from "../../kernel/clock.ts";
import { type FakeKernel, createFakeKernel } from "../../kernel/fake.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { cidr, ifName, ip, mac } from "../support/builders.ts";

export const facts: NodeFacts = {
  version: 1,
  nodeName: "node-a",
  network: "fairlead",
  podCidrs: [cidr("10.244.1.0/24")],
  nodeAddresses: [ip("192.0.2.1"), ip("2001:db8::1")],
  mtu: 1450,
  dns: {
    nameservers: [ip("10.96.0.10")],
    domain: "cluster.local",
    search: ["svc.cluster.local", "cluster.local"],
    options: ["ndots:5"],
  },
  bootId: "boot",
};

export const dualStackFacts: NodeFacts = {
  ...facts,
  podCidrs: [...facts.podCidrs, cidr("fd00:10:244:1::/64")],
};

/** A machine with the node's addresses, and the sandboxes /run/netns/c1 and c2. */
export function createFakeMachine(): FakeKernel {
  const kernel = createFakeKernel();
  const device = ifName("uplink");
  kernel.addDevice({ name: device, mac: mac("02:00:00:00:00:01") });
  kernel.apply(
    facts.nodeAddresses.map((address) => ({
      kind: "add-address",
      address: { device, address, prefixLength: address.includes(":") ? 64 : 24 },
    })),
  );
  kernel.addSandbox("/run/netns/c1");
  kernel.addSandbox("/run/netns/c2");
  return kernel;
}

export interface TestNode extends Disposable {
  readonly context: AttachContext;
  readonly handlers: AttachHandlers;
  readonly records: RecordStore;
  readonly ipam: Ipam;
  readonly directory: string;
  readonly log: readonly { readonly message: string; readonly fields: LogFields }[];
  /** Everything of ours that is left on the node, by name; empty after all pods are gone. */
  leftovers(): string[];
}

/** `kernel` is the caller's to dispose; the directory is removed with the node. */
export function createNode(
  kernel: Kernel,
  overrides: Partial<AttachContext> = {},
  directory = mkdtempSync(join(tmpdir(), "fairlead-attach-")),
): TestNode {
  const log: { message: string; fields: LogFields }[] = [];
  const keep = (fields: LogFields, message: string): void => void log.push({ fields, message });
  const recorder: Log = { ...silentLog, info: keep, warn: keep, error: keep };
  const ipam = openIpam({ dataDir: join(directory, "networks"), clock: systemClock });
  const records = openRecords({
    directory: join(directory, "attachments"),
    clock: systemClock,
    log: recorder,
    lockDeadlineMs: 1_000,
  });
  const context: AttachContext = {
    kernel,
    ipam,
    records,
    nodeFacts: () => facts,
    clock: systemClock,
    random: { below: (limit) => Math.floor(Math.random() * limit) },
    log: recorder,
    announcer: silentAnnouncer,
    reap: "background",
    ...overrides,
  };
  return {
    context,
    handlers: createHandlers(context),
    records,
    ipam,
    directory,
    log,
    leftovers: () => [
      ...filesOf(join(directory, "attachments")),
      ...filesOf(join(directory, "networks")).filter(
        (file) => !/\/(lock|last_reserved_ip\.\d+|\.fairlead\/.*)$/.test(file),
      ),
      ...kernel.links().flatMap(({ name }) => (isPodHostInterface(name) ? [`link ${name}`] : [])),
      ...kernel.routes({ protocol: routeProtocol }).map((route) => `route ${route.destination}`),
    ],
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  };
}

function filesOf(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** For a context: the pair is made by another thread whenever it can be. */
export const alwaysBeside: PairMakers = { thread: () => undefined, isBeside: () => true };

export const aConf = (more: Partial<NetConf> = {}): NetConf => ({
  cniVersion: "1.1.0",
  name: "fairlead",
  type: "fairlead",
  ipam: { type: ownIpamType, ranges: [], routes: [], requestedIps: [] },
  raw: "{}",
  ...more,
});

interface RequestParts extends Partial<Omit<AttachmentRequest, "conf">> {
  readonly containerId?: string;
  readonly conf?: Partial<NetConf>;
}

/** A request for interface eth0 of container c1 in the sandbox /run/netns/c1, but for what is given. */
export const aRequest = ({
  containerId = "c1",
  conf,
  ...more
}: RequestParts = {}): AttachmentRequest => ({
  key: { network: conf?.name ?? "fairlead", containerId, ifName: "eth0" },
  netns: `/run/netns/${containerId}`,
  args: new Map(),
  environment: {},
  ...more,
  conf: aConf(conf),
});

export const aNetworkRequest = (
  conf: Partial<NetConf> = {},
  environment: NetworkRequest["environment"] = {},
): NetworkRequest => ({ conf: aConf(conf), environment });

/** Never aborted. */
export const forever = new AbortController().signal;
