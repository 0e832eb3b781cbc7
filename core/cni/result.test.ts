import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { interfaceCidr, ip, mac } from "../../test/support/builders.ts";
import { ipFromBytes, macFromBytes } from "../address.ts";
import { CniCode } from "./error.ts";
import { emptyResult, formatResult, parseResult } from "./result.ts";
import { type CniResult, type CniVersion, cniVersions } from "./types.ts";
import { resultFamily } from "./version.ts";

const sandbox = "/var/run/netns/x";
const full: CniResult = {
  interfaces: [
    { name: "fl0123456789ab", mac: mac("0a:00:00:00:00:02"), mtu: 1450 },
    {
      name: "eth0",
      mac: mac("0a:00:00:00:00:03"),
      mtu: 1450,
      sandbox,
      socketPath: "/run/vhost.sock",
      pciID: "0000:00:1f.6",
    },
  ],
  ips: [
    { interface: 1, address: interfaceCidr("10.9.0.7/24"), gateway: ip("10.9.0.1") },
    { interface: 0, address: interfaceCidr("fd00:9::7/64"), gateway: ip("fd00:9::1") },
    { address: interfaceCidr("10.9.1.7/24") },
  ],
  routes: [
    { dst: interfaceCidr("0.0.0.0/0"), gw: ip("10.9.0.1") },
    {
      dst: interfaceCidr("::/0"),
      mtu: 1400,
      advmss: 1360,
      priority: 50,
      table: 0,
      scope: 0,
    },
  ],
  dns: { nameservers: ["10.9.0.53"], domain: "d.example", search: ["s.example"], options: ["x"] },
};
const formatted = (version: CniVersion, result = full) =>
  JSON.parse(formatResult(result, version)) as Record<string, never>;
const convert = (text: string, to: CniVersion) => formatResult(parseResult(text, "0.1.0"), to);

describe("formatResult()", () => {
  test.each(["0.1.0", "0.2.0"] as const)(
    "prints %s per family (result-01, result-07, result-13)",
    (version) => {
      expect(formatResult(full, version)).toBe(`{
    "cniVersion": "${version}",
    "ip4": {
        "ip": "10.9.0.7/24",
        "gateway": "10.9.0.1",
        "routes": [
            {
                "dst": "0.0.0.0/0",
                "gw": "10.9.0.1"
            }
        ]
    },
    "ip6": {
        "ip": "fd00:9::7/64",
        "gateway": "fd00:9::1",
        "routes": [
            {
                "dst": "::/0"
            }
        ]
    },
    "dns": {
        "nameservers": [
            "10.9.0.53"
        ],
        "domain": "d.example",
        "search": [
            "s.example"
        ],
        "options": [
            "x"
        ]
    }
}`);
    },
  );

  test("prints 0.4.0 with the version of each address (result-06)", () => {
    const shape = formatted("0.4.0");
    expect(Object.keys(shape)).toEqual(["cniVersion", "interfaces", "ips", "routes", "dns"]);
    expect(shape["interfaces"]).toEqual([
      { name: "fl0123456789ab", mac: "0a:00:00:00:00:02" },
      { name: "eth0", mac: "0a:00:00:00:00:03", sandbox },
    ]);
    expect(shape["ips"]).toEqual([
      { version: "4", interface: 1, address: "10.9.0.7/24", gateway: "10.9.0.1" },
      { version: "6", interface: 0, address: "fd00:9::7/64", gateway: "fd00:9::1" },
      { version: "4", address: "10.9.1.7/24" },
    ]);
    expect(Object.keys(shape["ips"]![0])).toEqual(["version", "interface", "address", "gateway"]);
    expect(shape["routes"]![1]).toHaveProperty("table", 0);
  });

  test("prints 1.0.0 without the version of an address, keys sorted (result-03)", () => {
    const shape = formatted("1.0.0");
    expect(Object.keys(shape)).toEqual(["cniVersion", "dns", "interfaces", "ips", "routes"]);
    expect(shape["ips"]![0]).toEqual({
      interface: 1,
      address: "10.9.0.7/24",
      gateway: "10.9.0.1",
    });
    expect(Object.keys(shape["ips"]![0])).toEqual(["address", "gateway", "interface"]);
  });

  test("prints 1.1.0 with everything (result-04, result-25)", () => {
    const shape = formatted("1.1.0");
    expect(shape["interfaces"]).toEqual(full.interfaces);
    expect(shape["routes"]![1]).toEqual({
      dst: "::/0",
      mtu: 1400,
      advmss: 1360,
      priority: 50,
      table: 0,
      scope: 0,
    });
  });

  test.each([
    ["0.4.0", { cniVersion: "0.4.0", dns: {} }],
    ["1.0.0", { cniVersion: "1.0.0" }],
  ] as const)("prints an empty dns of %s as the reference does (result-27)", (version, shape) => {
    expect(formatted(version, emptyResult)).toEqual(shape);
  });

  test("cannot say in 0.2.0 that there is no address (result-15, result-16)", () => {
    expect(() => formatResult({ ...full, ips: [] }, "0.2.0")).toThrow(
      "Cannot express the result in CNI version 0.2.0: it has no address",
    );
  });
});

describe("parseResult()", () => {
  test.each([
    ["with gateways (result-09)", { dst: "0.0.0.0/0", gw: "10.9.0.1" }],
    ["without gateways (result-10)", { dst: "0.0.0.0/0" }],
  ])("keeps a 0.2.0 result by way of 0.4.0, %s", (_, route) => {
    const old = {
      cniVersion: "0.2.0",
      ip4: { ip: "10.9.0.7/24", gateway: "10.9.0.1", routes: [route] },
      ip6: { ip: "fd00:9::7/64", routes: [{ dst: "::/0" }] },
      dns: { nameservers: ["10.9.0.53"] },
    };
    const newer = convert(JSON.stringify(old), "0.4.0");
    expect(JSON.parse(newer)).toMatchObject({
      ips: [{ version: "4" }, { version: "6" }],
      routes: [route, { dst: "::/0" }],
    });
    expect(JSON.parse(convert(newer, "0.2.0"))).toEqual(old);
  });

  test("leaves absent what is absent (result-18)", () => {
    const { ips } = parseResult('{"ips":[{"address":"1.2.3.4/24"}]}', "1.0.0");
    expect(ips).toEqual([{ address: interfaceCidr("1.2.3.4/24") }]);
    expect(ips[0]).not.toHaveProperty("interface");
  });

  test.each(["1.2.3.4/24", "2001:db8::/32", "fd00::7/64"])("keeps %s (result-21)", (address) => {
    const text = JSON.stringify({ cniVersion: "1.0.0", ips: [{ address }] });
    expect(JSON.parse(convert(text, "1.1.0")).ips).toEqual([{ address }]);
  });

  test("takes an empty gateway, name or number for none (result-24)", () => {
    const { ips, routes, interfaces } = parseResult(
      `{"interfaces":[{"name":"eth0","sandbox":"","mac":"","mtu":0}],
        "ips":[{"address":"1.2.3.4/24","gateway":"","interface":0}],
        "routes":[{"dst":"0.0.0.0/0","gw":"","mtu":0,"table":0,"scope":0}]}`,
      "1.1.0",
    );
    expect(interfaces).toEqual([{ name: "eth0" }]);
    expect(ips).toEqual([{ address: interfaceCidr("1.2.3.4/24"), interface: 0 }]);
    expect(routes).toEqual([{ dst: interfaceCidr("0.0.0.0/0"), table: 0, scope: 0 }]);
  });

  test("tolerates members it does not know, and keys in any case (result-28)", () => {
    const text = '{"CNIVERSION":"1.0.0","IPs":[{"Version":"4","Address":"1.2.3.4/24"}],"x":1}';
    expect(parseResult(text, "1.0.0").ips).toHaveLength(1);
  });

  test.each([
    ["of the request where it says none (result-36, result-39)", '{"cniVersion":""', "0.3.1"],
    ["of its own where it says one", '{"cniVersion":"1.0.0"', "0.1.0"],
  ] as const)("takes it for one %s", (_, start, requestVersion) => {
    const text = `${start},"ips":[{"address":"1.2.3.4/24"}]}`;
    expect(parseResult(text, requestVersion).ips).toHaveLength(1);
  });

  test("reads per family where nothing says a version (result-37, result-39)", () => {
    const { ips } = parseResult('{"ip4":{"ip":"1.2.3.4/24"},"ips":"ignored"}', "0.1.0");
    expect(ips).toEqual([{ address: interfaceCidr("1.2.3.4/24") }]);
  });

  test.each(["", "null", " \n", "{}"])("takes %j for an empty result", (text) => {
    expect(parseResult(text, "1.0.0")).toEqual(emptyResult);
  });

  test.each([
    ["[]", "Invalid result []: expected an object"],
    ["{", "JSON"],
    ['{"cniVersion":"3.0.0"}', 'Invalid result.cniVersion "3.0.0": expected one of 0.1.0,'],
    ['{"ips":[{"address":5}]}', "Invalid result.ips[0].address 5: expected an address with"],
    ['{"ips":[{"address":"01.2.3.4/24"}]}', "expected an address with its prefix"],
    ['{"ips":[{"address":"1.2.3.4"}]}', "expected an address with its prefix"],
    ['{"ips":[{"address":"fe80::1%eth0/64"}]}', "expected an address with its prefix"],
    ['{"ips":[{"gateway":"1.2.3.4"}]}', 'Invalid result.ips[0]: expected the key "address"'],
    ['{"ips":[{"address":"1.2.3.4/24","interface":-1}]}', "expected a whole number from 0"],
    ['{"routes":[{"dst":"1.2.3.0/24","scope":256}]}', "expected a whole number from 0 to 255"],
    ['{"interfaces":[{"mac":"x"}]}', 'expected the key "name"'],
    ['{"cniVersion":"0.2.0","ip4":{"ip":"fd00::1/64"}}', "result.ip4.ip"],
  ])("refuses %s (result-19, result-22)", (text, details) => {
    expect(() => parseResult(text, "1.0.0")).toThrow(
      expect.objectContaining({
        code: CniCode.decodingFailure,
        details: expect.stringContaining(details),
      }),
    );
  });
});

const anyIp = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }).map(ipFromBytes),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map(ipFromBytes),
);
const anyAddress = fc
  .tuple(anyIp, fc.nat(32))
  .map(([address, prefixLength]) => ({ address, prefixLength }));
const anyName = fc.string({ minLength: 1 });
const positive = fc.integer({ min: 1, max: 0xffff_ffff });
const anyMac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map(macFromBytes);
const optionally = { requiredKeys: [] as never[] };
const anyResult: fc.Arbitrary<CniResult> = fc.record({
  interfaces: fc.array(
    fc.record(
      { name: anyName, mac: anyMac, mtu: positive, sandbox: anyName, pciID: anyName },
      { requiredKeys: ["name"] },
    ),
  ),
  ips: fc.array(
    fc.record(
      { address: anyAddress, gateway: anyIp, interface: fc.nat(9) },
      { requiredKeys: ["address"] },
    ),
  ),
  routes: fc.array(
    fc.record(
      { dst: anyAddress, gw: anyIp, mtu: positive, table: fc.nat(), scope: fc.nat(255) },
      { requiredKeys: ["dst"] },
    ),
  ),
  dns: fc.record({ nameservers: fc.array(anyName, { minLength: 1 }), domain: anyName }, optionally),
});

describe("parseResult() of formatResult()", () => {
  test("is the result, for 1.0.0 and 1.1.0", () => {
    fc.assert(
      fc.property(anyResult, fc.constantFrom("1.0.0" as const, "1.1.0" as const), (result, v) => {
        expect(parseResult(formatResult(result, v), v)).toEqual(result);
      }),
    );
  });

  test("prints the same again, for every version", () => {
    fc.assert(
      fc.property(anyResult, fc.constantFrom(...cniVersions), (result, version) => {
        if (resultFamily(version) === "0.2" && result.ips.length === 0) return;
        const text = formatResult(result, version);
        expect(formatResult(parseResult(text, version), version)).toBe(text);
      }),
    );
  });
});
