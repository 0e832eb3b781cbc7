// `fairlead ipam show`: the node's addresses, for people and for programs.
import { paths } from "../../core/paths.ts";
import { systemBootClock } from "../../kernel/boot-clock.ts";
import { systemClock } from "../../kernel/clock.ts";
import type { CliContext } from "../context.ts";
import { requireRoot } from "../root.ts";
import { collect, poolOf, type Shown } from "./inventory.ts";
import { formatInventory } from "./show-text.ts";

export interface ShowOptions {
  readonly dataDir?: string;
  readonly json?: boolean;
}

export async function show(options: ShowOptions, context: CliContext): Promise<void> {
  requireRoot("read the leases");
  const places = { paths, clock: systemClock, boot: systemBootClock };
  const shown = await collect(options.dataDir, places, context.signal);
  context.stdout(
    options.json === true
      ? `${JSON.stringify(toJson(shown), null, 2)}\n`
      : formatInventory(shown, context.columns ?? 80),
  );
}

/** With what is drawn left out. */
export function toJson({ networks, isDaemonRunning, problems }: Shown): object {
  return {
    isDaemonRunning,
    problems,
    networks: networks.map(({ pools, leases, quarantined, ...network }) => ({
      ...network,
      pools: pools.map(({ set: _set, ...pool }) => pool),
      leases: leases.map(({ details, ...lease }) => ({
        ...lease,
        pool: poolOf(pools, lease.address),
        pod: details?.pod,
        givenAt: details && new Date(details.given.wallMs).toISOString(),
      })),
      quarantined: quarantined.map(({ address, forMs }) => ({
        address,
        pool: poolOf(pools, address),
        freedSeconds: Math.round(forMs / 1000),
      })),
    })),
  };
}
