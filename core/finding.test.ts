import { expect, test } from "vitest";
import { cidr, ifName, ip, mac } from "../test/support/builders.ts";
import { findingOf, formatFound } from "./finding.ts";
import { formatChange } from "./format-change.ts";
import type { Change, Link } from "./network.ts";

const device = ifName("fl-vxlan");
const link: Link = {
  index: 7,
  name: device,
  type: "vxlan",
  mac: mac("02:00:00:00:00:02"),
  mtu: 1300,
  isUp: false,
  group: 0,
  vxlan: { vni: 1, port: 4789, learning: false },
};
const neighbor = {
  device,
  address: ip("10.244.3.0"),
  mac: mac("02:00:00:00:00:03"),
  isPermanent: true,
};
const entry = { device, mac: neighbor.mac, destination: ip("172.30.2.13"), isPermanent: true };
const route = {
  destination: cidr("10.244.3.0/24"),
  device,
  gateway: ip("10.244.3.0"),
  table: 254,
  metric: 4,
  type: "unicast",
  scope: "global",
  protocol: 76,
} as const;
const observed = {
  link,
  addresses: [],
  neighbors: [{ ...neighbor, mac: mac("02:00:00:00:00:99") }],
  fdb: [{ ...entry, isPermanent: false }],
  routes: [{ ...route, gateway: ip("172.30.1.1") }],
};

const changes: readonly Change[] = [
  { kind: "replace-neighbor", neighbor },
  { kind: "replace-fdb", entry },
  { kind: "replace-route", route },
  { kind: "replace-route", route: { ...route, metric: 5 } },
  { kind: "remove-route", route },
  { kind: "set-link", device, settings: { mtu: 1450, alias: "fairlead", isUp: true } },
  { kind: "remove-link", device },
];

test("findingOf() has what was there in the place of each", () => {
  const lines = changes.map((change) => {
    const found = formatFound(findingOf(change, observed));
    return `${found} → ${formatChange(change)}`;
  });
  expect(lines.join("\n")).toMatchInlineSnapshot(`
    "ip neighbor replace 10.244.3.0 lladdr 02:00:00:00:00:99 dev fl-vxlan nud permanent → ip neighbor replace 10.244.3.0 lladdr 02:00:00:00:00:03 dev fl-vxlan nud permanent
    bridge fdb replace 02:00:00:00:00:03 dev fl-vxlan dst 172.30.2.13 self dynamic → bridge fdb replace 02:00:00:00:00:03 dev fl-vxlan dst 172.30.2.13 self permanent
    ip route replace 10.244.3.0/24 via 172.30.1.1 dev fl-vxlan proto 76 metric 4 → ip route replace 10.244.3.0/24 via 10.244.3.0 dev fl-vxlan proto 76 metric 4
    nothing → ip route replace 10.244.3.0/24 via 10.244.3.0 dev fl-vxlan proto 76 metric 5
    ip route replace 10.244.3.0/24 via 10.244.3.0 dev fl-vxlan proto 76 metric 4 → ip route del 10.244.3.0/24 via 10.244.3.0 dev fl-vxlan proto 76 metric 4
    ip link set dev fl-vxlan mtu 1300 alias "" down → ip link set dev fl-vxlan mtu 1450 alias "fairlead" up
    ip link add fl-vxlan address 02:00:00:00:00:02 mtu 1300 type vxlan id 1 dstport 4789 nolearning → ip link del dev fl-vxlan"
  `);
});
