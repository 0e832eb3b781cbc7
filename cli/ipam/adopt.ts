// `fairlead ipam adopt`: leases of pods that run under another plugin, taken over, so that the pods keep
// their addresses and nobody else gets them.
import { basename, join } from "node:path";
import type { Cidr } from "../../core/address.ts";
import { paths } from "../../core/paths.ts";
import {
  type Config,
  loadConfig,
  manifestDirectory,
  podNetworks,
} from "../../daemon/config/config.ts";
import { type AdoptionItem, adoptLeases } from "../../ipam/adopt.ts";
import { poolOffers, type RangeFacts } from "../../ipam/assign.ts";
import { type RangeSet, canonicalSets } from "../../ipam/range.ts";
import { systemBootClock } from "../../kernel/boot-clock.ts";
import { systemClock } from "../../kernel/clock.ts";
import { readNodeFacts } from "../../kernel/node-facts.ts";
import { type CliContext, exitStatus, SilentFailure, UsageError } from "../context.ts";
import { requireRoot } from "../root.ts";
import { formatTable, type Rows } from "../table.ts";
import {
  flannelPlaces,
  flannelSources,
  hostLocalSources,
  type Sources,
} from "./adoption-sources.ts";
import { readNodes } from "./manifests.ts";

export interface AdoptOptions {
  readonly from?: string;
  readonly network: readonly string[];
  readonly dataDir?: string;
  readonly config?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

const clocks = { clock: systemClock, boot: systemBootClock };

/** Fails when something was refused, or passed over and nothing else was there; what fits is adopted all the same. */
export async function adopt(options: AdoptOptions, context: CliContext): Promise<void> {
  requireRoot("take over leases");
  const isDryRun = options.dryRun ?? false;
  const config = loadConfig(options.config);
  const node = nodeOf(config);
  const { directories, problems } = sourcesOf(options, config, node.podCidrs);
  const request = {
    network: config.network.name,
    directory: join(paths.leases, config.network.name),
    sets: setsOf(node),
    adoptedPath: paths.adoptedLeases,
  };
  const origins: string[] = [];
  let isPassedOver = false;
  for (const origin of directories) {
    const isMeant = options.from === "flannel" || options.network.length > 0;
    const plan = { ...request, origins: [origin], isDryRun: true };
    const found = isMeant ? [] : await adoptLeases(plan, clocks, context.signal);
    if (isMeant || found.some(({ outcome }) => outcome.kind !== "refused")) origins.push(origin);
    else if (found.length > 0) {
      isPassedOver = true;
      context.stderr(`${origin}: passed over, none of its ${found.length} leases fits this node\n`);
    }
  }
  const items = await adoptLeases({ ...request, origins, isDryRun }, clocks, context.signal);
  const result = { isDryRun, network: config.network.name, items, problems };
  context.stdout(options.json === true ? formatJson(result) : formatText(result));
  const isRefused = items.some(({ outcome }) => outcome.kind === "refused");
  const isNothing = isPassedOver && items.length === 0;
  if (isRefused || isNothing || problems.length > 0) throw new SilentFailure(exitStatus.failed);
}

// As the daemon last wrote, else as the manifests have it: a daemon need not have run yet.
function nodeOf({ nodeName, network, cluster }: Config): RangeFacts {
  try {
    return readNodeFacts(paths);
  } catch {
    const directory = manifestDirectory(cluster);
    const found = readNodes(directory).find(({ node }) => node.name === nodeName);
    if (found === undefined || found.node.podCidrs.length === 0) {
      throw new Error(
        `Cannot find this node's blocks: the daemon has not run, and Node ${nodeName} has no pod CIDRs in ${directory}`,
      );
    }
    const { pools, name } = network;
    return { nodeName, network: name, podCidrs: found.node.podCidrs, pools };
  }
}

const setsOf = (node: RangeFacts): readonly RangeSet[] => poolOffers(node).flatMap(canonicalSets);

function sourcesOf(
  { from = "host-local", network, dataDir = paths.leases }: AdoptOptions,
  config: Config,
  podCidrs: readonly Cidr[],
): Sources {
  switch (from) {
    case "host-local": {
      const own = dataDir === paths.leases ? config.network.name : undefined;
      if (own !== undefined && network.includes(own)) {
        throw new UsageError(`Cannot adopt network "${own}": it is fairlead's own`);
      }
      return hostLocalSources(dataDir, { named: network, own });
    }
    case "flannel": {
      if (network.length > 0) throw new UsageError("Cannot use --network with --from flannel");
      const places = { ...flannelPlaces, confDir: config.cni.confDir, leases: dataDir };
      const cluster = podNetworks(config.network);
      return flannelSources(places, { name: config.nodeName, podCidrs, cluster });
    }
    default:
      throw new UsageError(`Cannot use --from "${from}": expected host-local or flannel`);
  }
}

interface Result {
  readonly isDryRun: boolean;
  readonly network: string;
  readonly items: readonly AdoptionItem[];
  readonly problems: readonly string[];
}

export function formatText({ isDryRun, network, items, problems }: Result): string {
  const rows: Rows = [
    ["ADDRESS", "CONTAINER", "INTERFACE", "FROM", "RESULT"],
    ...items.map((item) => [
      item.address,
      item.owner?.containerId ?? "-",
      item.owner?.ifName || "-",
      basename(item.origin),
      resultText(item, isDryRun),
    ]),
  ];
  const count = (kind: AdoptionItem["outcome"]["kind"]): number =>
    items.filter(({ outcome }) => outcome.kind === kind).length;
  const verb = isDryRun ? "would be adopted" : "adopted";
  const sum = `${count("adopted")} ${verb} into network ${network}, ${count("held")} were before, ${count("refused")} refused`;
  return [
    items.length === 0 ? "" : `${formatTable(rows)}\n`,
    `${sum}\n`,
    ...problems.map((problem) => `problem: ${problem}\n`),
  ].join("");
}

function resultText({ outcome }: AdoptionItem, isDryRun: boolean): string {
  switch (outcome.kind) {
    case "adopted":
      return isDryRun ? "would be adopted" : "adopted";
    case "held":
      return "adopted before";
    case "refused":
      return `refused: ${outcome.reason}`;
  }
}

const formatJson = ({ items, ...result }: Result): string =>
  `${JSON.stringify(
    {
      ...result,
      leases: items.map(({ owner, outcome, ...item }) => ({ ...item, ...owner, ...outcome })),
    },
    null,
    2,
  )}\n`;
