import { describe, expect, test } from "vitest";
import { parseCniArgs } from "./args.ts";
import { parseConfHeader, parseNetConf } from "./config.ts";
import type { CniCommand, CniVersion, NetConf } from "./types.ts";

interface Given {
  readonly command?: CniCommand;
  readonly cniVersion?: CniVersion;
  readonly args?: string;
}

const parse = (
  conf: object,
  { command = "ADD", cniVersion = "1.1.0", args = "" }: Given = {},
): NetConf =>
  parseNetConf(parseConfHeader(JSON.stringify({ cniVersion, name: "fairlead", ...conf })), {
    command,
    cniVersion,
    args: parseCniArgs(args),
  });

describe("parseNetConf()", () => {
  test("has our IPAM and nothing else by default", () => {
    const { raw, ...conf } = parse({ type: "fairlead" });
    expect(conf).toEqual({
      cniVersion: "1.1.0",
      name: "fairlead",
      type: "fairlead",
      ipam: { type: "fairlead-ipam", ranges: [], routes: [], requestedIps: [] },
    });
    expect(JSON.parse(raw)).toMatchObject({ type: "fairlead" });
  });

  test("takes null for absent and ignores keys it does not know", () => {
    const conf = parse({
      mtu: null,
      ipam: null,
      dns: null,
      prevResult: null,
      runtimeConfig: { portMappings: null, ips: null, ipRanges: null, cgroupPath: "/x" },
      args: { cni: null },
      capabilities: { portMappings: true },
    });
    expect(Object.keys(conf)).toEqual(["cniVersion", "name", "raw", "type", "ipam"]);
  });

  test("takes keys in any case (disp-52)", () => {
    const conf = parse({
      Mtu: 1400,
      DNS: { Nameservers: ["10.96.0.10"], SEARCH: ["a"] },
      RuntimeConfig: { IPs: ["10.1.2.3"], ipranges: [[{ SUBNET: "10.1.2.0/24" }]] },
    });
    expect(conf).toMatchObject({
      mtu: 1400,
      dns: { nameservers: ["10.96.0.10"], search: ["a"] },
      ipam: { requestedIps: ["10.1.2.3"], ranges: [[{ subnet: "10.1.2.0/24" }]] },
    });
  });

  test("keeps a dns with empty lists: it replaces what IPAM says", () => {
    expect(parse({ dns: { nameservers: [] } }).dns).toEqual({ nameservers: [] });
    const nameservers = ["192.0.2.1", "2001:db8::1", "fe80::1%eth0"];
    expect(parse({ dns: { nameservers: [...nameservers, ""] } }).dns).toEqual({ nameservers });
    expect(() => parse({ dns: { nameservers: ["192.0.2.1", "nonsense"] } })).toThrow(
      'Invalid dns.nameservers[1] "nonsense": expected an IP address',
    );
    expect(() => parse({ dns: { nameservers: ["192.0.2.1%eth0"] } })).toThrow("an IP address");
  });

  test("reads a range with all its keys (hl-conf-01)", () => {
    const range = { subnet: "10.1.2.0/24", rangeStart: "10.1.2.9", rangeEnd: "10.1.2.20" };
    const ipam = { type: "fairlead-ipam", ...range, gateway: "10.1.2.30", dataDir: "/d" };
    expect(parse({ ipam }).ipam).toMatchObject({
      ranges: [[{ ...range, gateway: "10.1.2.30" }]],
      dataDir: "/d",
    });
  });

  test("orders range sets: ipRanges, the old single range, ranges (hl-conf-03)", () => {
    const set = (subnet: string) => [{ subnet }];
    const { ipam } = parse({
      runtimeConfig: { ipRanges: [set("10.0.1.0/24")] },
      ipam: { subnet: "10.0.2.0/24", ranges: [set("10.0.3.0/24"), set("fd00::/64")] },
    });
    expect(ipam.ranges.map(([range]) => range?.subnet)).toEqual([
      "10.0.1.0/24",
      "10.0.2.0/24",
      "10.0.3.0/24",
      "fd00::/64",
    ]);
  });

  test.each([
    ["IP=10.1.2.11/24", {}, ["10.1.2.11"]],
    ["ip=10.1.2.11", {}, []],
    ["IP=", {}, []],
    [
      "IP=10.1.2.11",
      { args: { cni: { ips: ["10.1.2.12", "10.1.2.13/24", "2001:db8::1"] } } },
      ["10.1.2.11", "10.1.2.12", "10.1.2.13", "2001:db8::1"],
    ],
    [
      "IP=10.1.2.11",
      { args: { cni: { ips: ["10.1.2.12"] } }, runtimeConfig: { ips: ["10.1.2.13/16"] } },
      ["10.1.2.11", "10.1.2.12", "10.1.2.13"],
    ],
  ])(
    "adds up the requested addresses of %s and %j (hl-conf-06, hl-conf-07)",
    (args, conf, expected) => {
      expect(parse(conf, { args }).ipam.requestedIps).toEqual(expected);
    },
  );

  test("copies the routes of ipam, a 0 included", () => {
    const { routes } = parse({ ipam: { routes: [{ dst: "0.0.0.0/0", table: 0 }] } }).ipam;
    expect(routes).toEqual([{ dst: { address: "0.0.0.0", prefixLength: 0 }, table: 0 }]);
  });

  test("leaves the keys of another IPAM alone", () => {
    const ipam = { type: "whereabouts", range: "x", ranges: "its own", routes: 5 };
    expect(parse({ ipam }).ipam).toEqual({
      type: "whereabouts",
      ranges: [],
      routes: [],
      requestedIps: [],
    });
  });
});

describe("parseNetConf() refuses", () => {
  const ranges = (range: object) => ({ ipam: { ranges: [[range]] } });
  test.each([
    [{ mtu: 1279 }, "Invalid mtu 1279: expected a whole number from 1280 to 65535"],
    [{ mtu: 1500.5 }, "Invalid mtu 1500.5"],
    [{ mtu: "1500" }, 'Invalid mtu "1500"'],
    [{ type: 5 }, "Invalid type 5: expected a string"],
    [{ ipam: "static" }, 'Invalid ipam "static": expected an object'],
    [{ ipam: { type: 5 } }, "Invalid ipam.type 5: expected a string"],
    [{ dns: { search: "a" } }, 'Invalid dns.search "a": expected a list'],
    [{ dns: { search: [5] } }, "Invalid dns.search[0] 5: expected a string"],
    [{ ipam: { ranges: [[]] } }, "Invalid ipam.ranges[0] []: expected at least one range"],
    [{ ipam: { ranges: [{ subnet: "10.0.0.0/24" }] } }, "Invalid ipam.ranges[0] {"],
    [{ ipam: { ranges: [[{}]] } }, 'Invalid ipam.ranges[0][0]: expected the key "subnet"'],
    [
      ranges({ subnet: "192.0.2.12/24" }),
      'Invalid ipam.ranges[0][0].subnet "192.0.2.12/24": expected a network: 192.0.2.0/24 has no host bits',
    ],
    [ranges({ subnet: "2001:DB8:1::24:19ff:fee1:c44a/64" }), "2001:db8:1::/64 has no host bits"],
    [ranges({ subnet: "2001:DB8:24:19ff::/63" }), "2001:db8:24:19fe::/63 has no host bits"],
    [ranges({ subnet: "::ffff:10.1.2.0/120" }), "expected a network, such as"],
    [ranges({ subnet: "10.1.2.0/24", gateway: "x" }), 'gateway "x": expected an IP address'],
    [{ args: { cni: { ips: [""] } } }, 'Invalid args.cni.ips[0] "": expected an IP address'],
    [{ runtimeConfig: { ips: ["192.168.0.1000"] } }, "Invalid runtimeConfig.ips[0]"],
    [{ runtimeConfig: { ips: ["2001:db8::1/256"] } }, "Invalid runtimeConfig.ips[0]"],
    [{ runtimeConfig: [] }, "Invalid runtimeConfig []: expected an object"],
    [{ ipam: { dataDir: "leases" } }, 'Invalid ipam.dataDir "leases": expected an absolute path'],
    [{ ipam: { dataDir: "/a\0b" } }, "expected an absolute path"],
  ])("%j", (conf, message) => {
    expect(() => parse(conf)).toThrow(
      expect.objectContaining({ code: 7, message: expect.stringContaining(message) }),
    );
  });

  test("an address in CNI_ARGS that is none (hl-conf-09)", () => {
    expect(() => parse({}, { args: "IP=test" })).toThrow(
      expect.objectContaining({ code: 4, message: expect.stringContaining('Invalid IP "test"') }),
    );
  });

  test("a value without end, cut short", () => {
    expect(() => parse({ mtu: "x".repeat(5000) })).toThrow(/^Invalid mtu "x{119}…: expected/);
  });
});

describe("parseNetConf() reads prevResult", () => {
  const ips = [{ address: "10.1.2.3/24" }];
  const accepted: readonly (readonly [string, CniVersion, object])[] = [
    ["result-31", "1.1.0", { cniVersion: "1.0.0", ips }],
    ["result-31", "0.4.0", { cniVersion: "0.3.0", ips }],
    ["result-33", "1.0.0", { ips }],
    ["0.2.0", "0.2.0", { cniVersion: "0.1.0", ip4: { ip: "10.1.2.3/24" }, ips: "ignored" }],
  ];
  test.each(accepted)("(%s) in %s: %j", (_, cniVersion, prevResult) => {
    expect(parse({ prevResult }, { cniVersion }).prevResult?.ips).toEqual([
      { address: { address: "10.1.2.3", prefixLength: 24 } },
    ]);
  });

  test("as absent where it is absent (result-34), or where there can be none", () => {
    expect(parse({})).not.toHaveProperty("prevResult");
    expect(parse({ prevResult: 5 }, { command: "STATUS" })).not.toHaveProperty("prevResult");
  });

  const refused: readonly (readonly [CniVersion, object, string])[] = [
    ["1.1.0", { cniVersion: "0.2.0" }, 'prevResult.cniVersion "0.2.0": expected 1.0.0 or 1.1.0'],
    [
      "0.4.0",
      { cniVersion: "1.0.0" },
      "expected 0.3.0 or 0.3.1 or 0.4.0 in a configuration of 0.4",
    ],
    ["0.2.0", { cniVersion: "0.3.0" }, "expected 0.1.0 or 0.2.0"],
    ["1.1.0", { cniVersion: "x" }, 'Invalid prevResult.cniVersion "x": expected one of'],
    ["1.1.0", { ips: [{ address: 5 }] }, "Invalid prevResult.ips[0].address 5"],
  ];
  test.each(refused)("but refuses in %s: %j (result-30)", (cniVersion, prevResult, message) => {
    expect(() => parse({ prevResult }, { cniVersion, command: "CHECK" })).toThrow(message);
    expect(parse({ prevResult }, { cniVersion, command: "DEL" })).not.toHaveProperty("prevResult");
  });
});
