// What was there where something was not as planned: for the log and the ledger of repairs.
import type { ObservedNode } from "./desired/node-state.ts";
import type { AlteredOption } from "./device-option.ts";
import { formatChange } from "./format-change.ts";
import type { Change, Link, LinkSettings } from "./network.ts";
import { addressKind, fdbKind, neighborKind, type ObjectKind, routeKind } from "./object-kind.ts";
import type { RepairStatus } from "./status.ts";

/** A change that is needed, and the one that would make what was found in its place. */
export interface Finding {
  readonly change: Change;
  /** Absent: nothing was there. */
  readonly found?: Change;
}

/** Something that was not as planned and now is. */
export type Applied =
  | Finding
  | {
      readonly kind: "nftables" | "sysctl";
      /** As `nft` or `sysctl` would say it. */
      readonly what: string;
      readonly found: string;
    };

/** As {@link formatChange} has it. */
export const formatFound = ({ found }: Finding): string =>
  found === undefined ? "nothing" : formatChange(found);

/** As `ip`, `bridge`, `nft` or `sysctl` would say it: what was found, and what was done. */
export const describeApplied = (applied: Applied): Pick<RepairStatus, "found" | "done"> =>
  "what" in applied
    ? { found: applied.found, done: applied.what }
    : { found: formatFound(applied), done: formatChange(applied.change) };

/** What of an observed node the change replaces or removes. */
export function findingOf(change: Change, observed: ObservedNode): Finding {
  const found = foundFor(change, observed);
  return found === undefined ? { change } : { change, found };
}

function foundFor(change: Change, { link, ...observed }: ObservedNode): Change | undefined {
  switch (change.kind) {
    case "replace-neighbor":
      return sameKey(neighborKind, change.neighbor, observed.neighbors);
    case "replace-fdb":
      return sameKey(fdbKind, change.entry, observed.fdb);
    case "replace-route":
      return sameKey(routeKind, change.route, observed.routes);
    case "remove-neighbor":
      return neighborKind.put(change.neighbor);
    case "remove-fdb":
      return fdbKind.put(change.entry);
    case "remove-route":
      return routeKind.put(change.route);
    case "remove-address":
      return addressKind.put(change.address);
    case "set-link":
      return link && settingsOf(link, change.settings, change.device);
    case "add-vxlan":
    case "remove-link":
      return link && deviceOf(link);
    default:
      return undefined;
  }
}

function sameKey<T>({ keyOf, put }: ObjectKind<T>, item: T, items: readonly T[]) {
  const key = keyOf(item);
  const found = items.find((other) => keyOf(other) === key);
  return found === undefined ? undefined : put(found);
}

/** Those of the link's settings that are given others. */
function settingsOf(link: Link, wanted: LinkSettings, device: Link["name"]): Change {
  const { mtu, mac, alias = "", isUp, group, vxlan, altered = [] } = link;
  const settings: LinkSettings = {
    ...(wanted.mtu !== undefined && { mtu }),
    ...(wanted.mac !== undefined && mac !== undefined && { mac }),
    ...(wanted.alias !== undefined && { alias }),
    ...(wanted.isUp !== undefined && { isUp }),
    ...(wanted.group !== undefined && { group }),
    ...(wanted.vxlan !== undefined && vxlan !== undefined && { vxlan }),
    ...(wanted.options !== undefined && { options: foundOptions(altered, wanted.options) }),
  };
  return { kind: "set-link", device, settings };
}

/** As they are, of those that are given others. */
const foundOptions = (
  altered: readonly AlteredOption[],
  wanted: readonly AlteredOption[],
): readonly AlteredOption[] =>
  wanted.map(
    (option) =>
      altered.find(({ word }) => word === option.word) ?? { ...option, value: option.usual },
  );

const deviceOf = ({ name, mac, mtu, vxlan, altered: options }: Link): Change | undefined =>
  mac === undefined || vxlan === undefined
    ? undefined
    : { kind: "add-vxlan", name, mac, mtu, vxlan, ...(options && { options }) };
