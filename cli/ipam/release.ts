// `fairlead ipam release`: a node that never comes back gives up its name and its blocks.
import { EtcdClient } from "../../daemon/etcd/client.ts";
import { silenceMs } from "../../daemon/etcd/block-keeper.ts";
import { type ReleasedNode, releaseFromEtcd } from "../../daemon/etcd/release-node.ts";
import { systemClock } from "../../kernel/clock.ts";
import { systemRandom } from "../../kernel/random.ts";
import type { CliContext } from "../context.ts";
import { requireEtcd } from "../etcd-config.ts";
import { requireRoot } from "../root.ts";

export interface ReleaseOptions {
  readonly force?: boolean;
  readonly config?: string;
  readonly json?: boolean;
}

/** Beside the silence that is waited for. */
const answerMs = 60_000;

export async function release(
  node: string,
  { force: isForced = false, config, json = false }: ReleaseOptions,
  context: CliContext,
): Promise<void> {
  requireRoot("release a node");
  const etcd = requireEtcd(config, `Cannot release Node ${node}`, {
    file: "take the Node out of the manifests",
    kubernetes: `kubectl delete node ${node}`,
  });
  using client = new EtcdClient(etcd);
  const released = await releaseFromEtcd(
    node,
    {
      client,
      prefix: etcd.prefix,
      isForced,
      silenceMs,
      onWait: (ms) => context.stderr(`waiting ${ms / 1000} s for a sign of life of ${node}\n`),
      clock: systemClock,
      random: systemRandom,
    },
    AbortSignal.any([context.signal, AbortSignal.timeout(silenceMs + answerMs)]),
  );
  context.stdout(json ? `${JSON.stringify(released, null, 2)}\n` : describe(released));
}

const describe = ({ node, blocks, hadNodeObject }: ReleasedNode): string =>
  `released ${node}: its name${hadNodeObject ? ", its Node object" : ""}, ` +
  `${blocks.length === 0 ? "no block" : `blocks ${blocks.join(" ")}`}\n`;
