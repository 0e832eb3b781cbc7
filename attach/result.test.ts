import { describe, expect, test } from "vitest";
import { formatResult, parseResult } from "../core/cni/result.ts";
import { type CniResult, type CniVersion, cniVersions } from "../core/cni/types.ts";
import { aConf } from "../test/attach/fixture.ts";
import { interfaceCidr, ip, mac } from "../test/support/builders.ts";
import { afterPrevious } from "./result.ts";

const sandbox = "/run/netns/c1";
const previous: CniResult = {
  interfaces: [
    { name: "br0", mac: mac("02:00:00:00:00:01") },
    { name: "net1", sandbox },
  ],
  ips: [
    { address: interfaceCidr("10.9.0.7/24"), gateway: ip("10.9.0.1"), interface: 1 },
    { address: interfaceCidr("10.9.1.7/24") },
  ],
  routes: [{ dst: interfaceCidr("10.0.0.0/8"), gw: ip("10.9.0.1"), table: 0 }],
  dns: { nameservers: ["10.9.0.53"] },
};
const ours: CniResult = {
  interfaces: [{ name: "fl0123456789ab" }, { name: "eth0", sandbox }],
  ips: [{ address: interfaceCidr("10.244.1.7/32"), gateway: ip("169.254.1.1"), interface: 1 }],
  routes: [{ dst: interfaceCidr("0.0.0.0/0"), gw: ip("169.254.1.1") }],
  dns: {},
};
const merged = (cniVersion: CniVersion, own = ours) =>
  afterPrevious(aConf({ cniVersion, prevResult: previous }), own);

describe("afterPrevious()", () => {
  test("is our own result as the first plugin of a chain", () =>
    expect(afterPrevious(aConf(), ours)).toBe(ours));

  test("appends ours, with the indexes moved, and keeps what was there", () =>
    expect(merged("1.1.0")).toEqual({
      interfaces: [...previous.interfaces, ...ours.interfaces],
      ips: [...previous.ips, { ...ours.ips[0], interface: 3 }],
      routes: [...previous.routes, ...ours.routes],
      dns: previous.dns,
    }));

  test("has our resolver where we have one", () =>
    expect(merged("1.1.0", { ...ours, dns: { nameservers: ["10.96.0.10"] } }).dns).toEqual({
      nameservers: ["10.96.0.10"],
    }));

  test.each(cniVersions)("names the pod's own address in %s", (version) => {
    const { ips } = parseResult(formatResult(merged(version), version), version);
    expect(ips.map(({ address }) => address.address)).toContain("10.244.1.7");
  });
});
