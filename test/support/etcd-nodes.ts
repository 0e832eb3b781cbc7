// Nodes as members of a cluster in a real etcd, without kernels.
import { expect, onTestFinished, vi } from "vitest";
import type { Cidr } from "../../core/address.ts";
import type { Clock } from "../../core/clock.ts";
import { type Log, silentLog } from "../../core/log.ts";
import { parseConfig } from "../../daemon/config/config.ts";
import { EtcdClient } from "../../daemon/etcd/client.ts";
import { keysUnder } from "../../daemon/etcd/keys.ts";
import { checkMarker } from "../../daemon/etcd/marker.ts";
import { EtcdMember } from "../../daemon/etcd/member.ts";
import { readEtcdOnce } from "../../daemon/etcd/read-once.ts";
import { type PublishedService, serviceObjects } from "../../daemon/etcd/service-file.ts";
import { openEtcdSource } from "../../daemon/etcd/etcd-source.ts";
import type { Source } from "../../daemon/source/source.ts";
import type { Use } from "../../ipam/claims/agent.ts";
import type { DemandPolicy } from "../../ipam/claims/demand.ts";
import { systemClock } from "../../kernel/clock.ts";
import { systemRandom } from "../../kernel/random.ts";
import { ip } from "./builders.ts";

export const waiting = { timeout: 30_000, interval: 20 };
export const soon = (): AbortSignal => AbortSignal.timeout(20_000);
let clusters = 0;

export interface NodeOptions {
  readonly instance?: string;
  readonly config?: string;
  /** Several with a space between them. */
  readonly address?: string;
  readonly previous?: readonly Cidr[];
  readonly use?: (block: Cidr) => Use;
  readonly policy?: DemandPolicy;
  readonly services?: readonly PublishedService[];
  readonly attachments?: ReadonlyMap<string, object>;
  /** Where it reaches etcd; default: etcd's own. */
  readonly endpoint?: string;
  /** The machine's own; default: as all have it. */
  readonly clock?: Clock;
  readonly sweepEverySeconds?: number;
  readonly nodeLeaseSeconds?: number;
  /** The cluster that it remembers to be of; default: none. */
  readonly clusterId?: string;
  readonly log?: Log;
}

export interface TestNode extends Disposable {
  readonly client: EtcdClient;
  readonly member: EtcdMember;
  readonly source: Source;
}

/** A prefix, and nodes that come to it. */
export function etcdCluster(endpoint: string) {
  const prefix = `/cluster-${clusters++}`;
  const operator = new EtcdClient({ endpoints: [endpoint] });
  onTestFinished(() => operator[Symbol.dispose]());
  const start = (name: string, options: NodeOptions = {}): TestNode => {
    const stack = new DisposableStack();
    const client = stack.use(new EtcdClient({ endpoints: [options.endpoint ?? endpoint] }));
    const { clock = systemClock } = options;
    const { network } = parseConfig(options.config ?? "", "test", { nodeName: name });
    const traits = { network: network.name, podCIDRs: network.podCidrs, ...network.vxlan };
    const member = stack.use(
      new EtcdMember({
        client,
        prefix,
        leaseSeconds: { node: options.nodeLeaseSeconds ?? 3, names: 2 },
        nodeName: name,
        instance: options.instance ?? `machine of ${name}`,
        network,
        previous: options.previous ?? [],
        useOf: async (block) => options.use?.(block) ?? { used: 0, quarantined: 0, free: 253 },
        ...(options.policy && { policy: options.policy }),
        ...(options.sweepEverySeconds && { sweepEverySeconds: options.sweepEverySeconds }),
        addresses: () => (options.address ?? "192.0.2.1").split(" ").map(ip),
        attachments: () => options.attachments ?? new Map(),
        services: () => ({
          services: options.services ?? [],
          objects: new Map(
            (options.services ?? []).flatMap((service) => [...serviceObjects(service, name)]),
          ),
          problems: [],
        }),
        checkMarker: async (signal) => {
          const keys = keysUnder(prefix);
          const { clusterId: id = "one" } = options;
          const isKnown = options.clusterId !== undefined;
          await checkMarker({ client, keys, traits, id, isKnown }, signal);
        },
        clock,
        random: systemRandom,
        log: options.log ?? silentLog,
      }),
    );
    const source = stack.use(
      openEtcdSource({
        client,
        prefix,
        clock,
        random: systemRandom,
        log: silentLog,
        member,
      }),
    );
    onTestFinished(() => stack.dispose());
    return { client, member, source, [Symbol.dispose]: () => stack.dispose() };
  };
  const claims = async (): Promise<readonly string[]> => {
    const found: string[] = [];
    const below = `${prefix}/claims/blocks/`;
    for await (const { entries } of operator.pages(below, soon())) {
      found.push(...entries.map(({ key }) => key.slice(below.length).replace("-", "/")));
    }
    return found;
  };
  const read = async () => (await readEtcdOnce(operator, prefix, soon())).snapshot;
  return { prefix, operator, start, read, claims };
}

export type EtcdCluster = ReturnType<typeof etcdCluster>;

export const blocksOf = ({ source }: TestNode, name: string): readonly Cidr[] =>
  source.state().snapshot.nodes.get(name)?.podCidrs ?? [];
export const sees = (node: TestNode, ...names: readonly string[]): Promise<void> =>
  vi.waitFor(() => {
    expect([...node.source.state().snapshot.nodes.keys()].sort()).toEqual(names);
    expect(node.source.state().snapshot.isInSync).toBe(true);
  }, waiting);
