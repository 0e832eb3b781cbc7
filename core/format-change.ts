import { familyOf } from "./address.ts";
import { assertNever } from "./assert.ts";
import { type DeviceOption, formatOption } from "./device-option.ts";
import {
  type Change,
  type FdbEntry,
  type InterfaceAddress,
  type LinkSettings,
  type Neighbor,
  type Route,
  type Shaping,
  type VxlanParameters,
  localTable,
  mainTable,
} from "./network.ts";

/**
 * The change as the one `ip`, `bridge`, `tc` or `ethtool` line that would do the same: for logs, errors and golden
 * tests. Three things differ from iproute2, which has no words for them: the sandbox of a pod end is
 * `netns sandbox`, a link's IPv4 settings go by their sysctls' names, as `rp_filter N`, and a route that was
 * found with more than is said here ends in `and more`.
 */
export function formatChange(change: Change): string {
  switch (change.kind) {
    case "add-veth": {
      const { host, pod, mtu, alias, isHostUp = false } = change;
      return words(
        `ip link add ${host.name} index ${host.index} address ${host.mac} mtu ${mtu}`,
        isHostUp && "up",
        alias !== undefined && `alias ${JSON.stringify(alias)}`,
        `type veth peer name ${pod.name} index ${pod.index} address ${pod.mac} mtu ${mtu}`,
        "netns sandbox",
      );
    }
    case "add-vxlan":
      return words(
        `ip link add ${change.name} address ${change.mac} mtu ${change.mtu}`,
        formatOptions("link", change.options),
        formatVxlan(change.vxlan),
        formatOptions("vxlan", change.options),
      );
    case "set-link":
      return formatSetLink(change);
    case "remove-link":
      return `ip link del dev ${change.device}`;
    case "add-address":
      return `ip address add ${formatAddress(change.address)}`;
    case "remove-address":
      return `ip address del ${formatAddress(change.address)}`;
    case "add-route":
      return formatRoute("add", change.route);
    case "replace-route":
      return formatRoute("replace", change.route);
    case "remove-route":
      return formatRoute("del", change.route);
    case "replace-neighbor":
      return formatNeighbor("replace", change.neighbor);
    case "remove-neighbor":
      return formatNeighbor("del", change.neighbor);
    case "replace-fdb":
      return formatFdb("replace", change.entry);
    case "remove-fdb":
      return formatFdb("del", change.entry);
    case "replace-shaping":
      return formatShaping(change.shaping);
    default:
      return assertNever(change);
  }
}

const words = (...parts: readonly (string | false | undefined)[]): string =>
  parts.filter((part) => part !== false && part !== undefined && part !== "").join(" ");

const formatVxlan = (vxlan: VxlanParameters): string =>
  words(
    `type vxlan id ${vxlan.vni} dstport ${vxlan.port}`,
    vxlan.local !== undefined && `local ${vxlan.local}`,
    vxlan.underlayIndex !== undefined && `dev if${vxlan.underlayIndex}`,
    vxlan.learning ? "learning" : "nolearning",
  );

function formatSetLink({ device, settings }: Extract<Change, { kind: "set-link" }>): string {
  const ofLink = formatSettings(settings);
  const features = formatOptions("feature", settings.options);
  const lines = [
    ...(ofLink === "" ? [] : [`ip link set dev ${device} ${ofLink}`]),
    ...(features === undefined || features === "" ? [] : [`ethtool -K ${device} ${features}`]),
  ];
  return lines.length === 0 ? `ip link set dev ${device}` : lines.join("; ");
}

const formatSettings = (settings: LinkSettings): string =>
  words(
    settings.linkLocal !== undefined && `addrgenmode ${settings.linkLocal ? "eui64" : "none"}`,
    settings.rpFilter !== undefined && `rp_filter ${settings.rpFilter}`,
    settings.forwarding !== undefined && `forwarding ${settings.forwarding ? 1 : 0}`,
    settings.routeLocalnet !== undefined && `route_localnet ${settings.routeLocalnet ? 1 : 0}`,
    settings.mtu !== undefined && `mtu ${settings.mtu}`,
    settings.mac !== undefined && `address ${settings.mac}`,
    settings.alias !== undefined && `alias ${JSON.stringify(settings.alias)}`,
    settings.group !== undefined && `group ${settings.group}`,
    settings.isUp !== undefined && (settings.isUp ? "up" : "down"),
    formatOptions("link", settings.options),
    settings.vxlan !== undefined
      ? formatVxlan(settings.vxlan)
      : settings.options?.some((option) => option.of === "vxlan") === true && "type vxlan",
    formatOptions("vxlan", settings.options),
  );

const formatOptions = (
  of: DeviceOption["of"],
  options: readonly DeviceOption[] | undefined,
): string | undefined =>
  options
    ?.filter((option) => option.of === of)
    .map(formatOption)
    .join(" ");

const formatAddress = ({ address, prefixLength, device }: InterfaceAddress): string =>
  `${address}/${prefixLength} dev ${device}`;

function formatRoute(verb: "add" | "replace" | "del", route: Route): string {
  const tableName =
    route.table === mainTable ? undefined : route.table === localTable ? "local" : route.table;
  return words(
    `${familyOf(route.destination) === 4 ? "ip" : "ip -6"} route ${verb}`,
    route.type !== "unicast" && route.type,
    route.destination,
    route.typeOfService !== undefined && `tos 0x${route.typeOfService.toString(16)}`,
    route.from !== undefined && `from ${route.from}`,
    route.gateway !== undefined &&
      // iproute2 wants the family named when it is not the destination's.
      `via ${familyOf(route.gateway) === familyOf(route.destination) ? "" : "inet6 "}${route.gateway}`,
    `dev ${route.device}`,
    route.onlink === true && "onlink",
    route.source !== undefined && `src ${route.source}`,
    `proto ${route.protocol}`,
    route.scope !== "global" && `scope ${route.scope}`,
    route.metric !== 0 && `metric ${route.metric}`,
    tableName !== undefined && `table ${tableName}`,
    route.isAltered === true && "and more",
  );
}

const formatNeighbor = (verb: "replace" | "del", neighbor: Neighbor): string =>
  words(
    `ip neighbor ${verb} ${neighbor.address} lladdr ${neighbor.mac} dev ${neighbor.device}`,
    verb === "replace" && `nud ${neighbor.isPermanent ? "permanent" : "reachable"}`,
  );

const formatShaping = ({ device, rate, burst, limit }: Shaping): string =>
  `tc qdisc replace dev ${device} root tbf rate ${rate}bps burst ${burst}b limit ${limit}b`;

const formatFdb = (verb: "replace" | "del", entry: FdbEntry): string =>
  words(
    `bridge fdb ${verb} ${entry.mac} dev ${entry.device} dst ${entry.destination}`,
    entry.port !== undefined && `port ${entry.port}`,
    entry.vni !== undefined && `vni ${entry.vni}`,
    entry.underlayIndex !== undefined && `via if${entry.underlayIndex}`,
    "self",
    verb === "replace" && (entry.isPermanent ? "permanent" : "dynamic"),
  );
