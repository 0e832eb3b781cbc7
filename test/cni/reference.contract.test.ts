// Results against the reference plugins (Debian's containernetworking-plugins, which know versions up
// to 1.0.0): what they print is read and printed again, what is printed here is read by them.
import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { formatResult, parseResult } from "../../core/cni/result.ts";
import { type CniResult, cniVersions } from "../../core/cni/types.ts";
import { isSupportedVersion } from "../../core/cni/version.ts";
import { interfaceCidr, ip, mac } from "../support/builders.ts";

const known = cniVersions.filter((version) => version !== "1.1.0");

/** Standard output of ADD. */
const add = (plugin: string, conf: object): string =>
  execFileSync(`/usr/lib/cni/${plugin}`, {
    env: {
      CNI_COMMAND: "ADD",
      CNI_CONTAINERID: "a51debf7e1eb",
      CNI_NETNS: "/run/netns/none",
      CNI_IFNAME: "eth0",
      CNI_PATH: "/usr/lib/cni",
    },
    input: JSON.stringify({ name: "reference", type: plugin, ...conf }),
    encoding: "utf8",
  });

const ipam = {
  type: "static",
  addresses: [
    { address: "10.9.0.7/24", gateway: "10.9.0.1" },
    { address: "2001:DB8:0:0:0:0:0:7/64", gateway: "2001:db8::1" },
  ],
  routes: [{ dst: "0.0.0.0/0" }, { dst: "10.0.0.0/8", gw: "10.9.0.254" }, { dst: "::/0" }],
  dns: { nameservers: ["10.9.0.53"], domain: "d.example", search: ["s.example"], options: ["x"] },
};

describe("the reference plugin static", () => {
  // From 1.0.0 members are sorted here, as newer releases than Debian's do it.
  test.each(known)("prints a result of %s that is printed here just so", (cniVersion) => {
    const printed = add("static", { cniVersion, ipam });
    const again = formatResult(parseResult(printed, cniVersion), cniVersion);
    if (cniVersion === "1.0.0") expect(JSON.parse(again)).toEqual(JSON.parse(printed));
    else expect(again).toBe(printed);
  });

  test("prints nothing that is lost on the way to another version and back", () => {
    // 0.2.0 has routes per family: their order is not kept.
    const sorted = (result: CniResult) => ({
      ...result,
      routes: result.routes.map((route) => JSON.stringify(route)).sort(),
    });
    for (const from of known) {
      const printed = parseResult(add("static", { cniVersion: from, ipam }), from);
      for (const to of known) {
        expect(sorted(parseResult(formatResult(printed, to), to))).toEqual(sorted(printed));
      }
    }
  });
});

describe("the reference plugin bandwidth", () => {
  const result: CniResult = {
    interfaces: [
      { name: "fl0123456789ab", mac: mac("0a:00:00:00:00:02") },
      { name: "eth0", mac: mac("0a:00:00:00:00:03"), sandbox: "/run/netns/x" },
    ],
    ips: [
      { interface: 1, address: interfaceCidr("10.244.1.7/32"), gateway: ip("169.254.1.1") },
      { interface: 1, address: interfaceCidr("fd00:10:244:1::7/128"), gateway: ip("fe80::1") },
    ],
    routes: [{ dst: interfaceCidr("0.0.0.0/0"), gw: ip("169.254.1.1") }],
    dns: { nameservers: ["10.96.0.10"], search: ["svc.cluster.local"], options: ["ndots:5"] },
  };

  test.each(known.filter((version) => version >= "0.3"))(
    "takes a result of %s for its previous one, and passes it on unchanged",
    (cniVersion) => {
      const text = formatResult(result, cniVersion);
      const passed = add("bandwidth", { cniVersion, prevResult: JSON.parse(text) as object });
      expect(parseResult(passed, cniVersion)).toEqual(result);
      expect(JSON.parse(passed)).toEqual(JSON.parse(text));
    },
  );
});

test("the reference plugins and we say the same of versions", () => {
  const printed = execFileSync("/usr/lib/cni/bridge", {
    env: { CNI_COMMAND: "VERSION" },
    input: '{"cniVersion":"1.0.0"}',
    encoding: "utf8",
  });
  const { supportedVersions } = JSON.parse(printed) as { supportedVersions: string[] };
  expect(supportedVersions).toEqual(known);
  expect(supportedVersions.every(isSupportedVersion)).toBe(true);
});
