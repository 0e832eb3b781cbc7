import { describe, expect, test } from "vitest";
import { ifName } from "../../test/support/builders.ts";
import type { Family } from "../address.ts";
import { desireSysctls, globalRpFilterProblem } from "./sysctl.ts";

const wanted = (
  values: Readonly<Record<string, string>>,
  families: readonly Family[] = [4, 6],
): string[] =>
  desireSysctls({
    families: new Set(families),
    underlay: ifName("eth0.10"),
    hasVxlan: true,
    read: (name) => values[name],
  }).map(({ name, value }) => `${name} = ${value}`);

const usual = {
  "net/ipv4/ip_forward": "0",
  "net/ipv4/conf/fl-vxlan/rp_filter": "2",
  "net/ipv6/conf/all/forwarding": "0",
  "net/ipv6/conf/eth0.10/accept_ra": "0",
};

describe("desireSysctls()", () => {
  test("owns forwarding and the filter of our device", () =>
    expect(wanted(usual, [4])).toEqual([
      "net/ipv4/ip_forward = 1",
      "net/ipv4/conf/fl-vxlan/rp_filter = 0",
    ]));

  test("forwards IPv6, and leaves an uplink alone that ignores router advertisements", () =>
    expect(wanted(usual)).toEqual([
      "net/ipv4/ip_forward = 1",
      "net/ipv6/conf/all/forwarding = 1",
      "net/ipv4/conf/fl-vxlan/rp_filter = 0",
    ]));

  test.each(["1", "2"])(
    "keeps an uplink with accept_ra %s living by router advertisements",
    (now) =>
      expect(wanted({ ...usual, "net/ipv6/conf/eth0.10/accept_ra": now })).toEqual([
        "net/ipv4/ip_forward = 1",
        "net/ipv6/conf/eth0.10/accept_ra = 2",
        "net/ipv6/conf/all/forwarding = 1",
        "net/ipv4/conf/fl-vxlan/rp_filter = 0",
      ]),
  );

  test("owns the forwarding of the devices that it forwards between, and what new ones start with", () => {
    const devices = ["default", "eth0.10", "fl-vxlan"];
    const now = devices.map((device) => [`net/ipv4/conf/${device}/forwarding`, "0"]);
    expect(wanted({ "net/ipv4/ip_forward": "1", ...Object.fromEntries(now) }, [4])).toEqual([
      "net/ipv4/ip_forward = 1",
      ...devices.map((device) => `net/ipv4/conf/${device}/forwarding = 1`),
    ]);
  });

  test.each<[readonly Family[], readonly string[]]>([
    [[4], ["net/ipv6/conf/fl-vxlan/addr_gen_mode = 1"]],
    [
      [4, 6],
      ["net/ipv6/conf/fl-vxlan/disable_ipv6 = 0", "net/ipv6/conf/fl-vxlan/addr_gen_mode = 1"],
    ],
  ])(
    "with families %j has our device do IPv6 where pods have it, and no link-local address",
    (families, expected) => {
      const device = "net/ipv6/conf/fl-vxlan";
      const values = { [`${device}/disable_ipv6`]: "1", [`${device}/addr_gen_mode`]: "0" };
      expect(wanted(values, families)).toEqual(expected);
    },
  );

  test("leaves out what the kernel does not have", () =>
    expect(wanted({ "net/ipv4/ip_forward": "1" })).toEqual(["net/ipv4/ip_forward = 1"]));
});

test.each([
  ["0", false],
  ["1", true],
  ["2", false],
])("globalRpFilterProblem() with all.rp_filter %s", (value, isProblem) => {
  expect(globalRpFilterProblem(() => value) !== undefined).toBe(isProblem);
});
