import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CniCode } from "../core/cni/error.ts";
import type { CniReply } from "../core/cni/types.ts";
import {
  type IpamCall,
  addressesOf,
  callIpam,
  noFacts,
  printed,
  set,
} from "../test/ipam/ipam-call.ts";
import { type DataDir, createDataDir, key, never } from "../test/ipam/lease-directory.ts";
import { cidr, ip } from "../test/support/builders.ts";
import type { RangeFacts } from "./assign.ts";

let data: DataDir;
let warnings: string[];
beforeEach(() => {
  data = createDataDir();
  warnings = [];
});
afterEach(() => data[Symbol.dispose]());

const call = (given: IpamCall) => callIpam(data, given, (message) => warnings.push(message));

describe("ADD", () => {
  const facts = (quarantineSeconds?: number) => (): RangeFacts => ({
    network: "other",
    nodeName: "n1",
    podCidrs: [],
    ...(quarantineSeconds !== undefined && { quarantineSeconds }),
  });
  const byOrder = "10.1.2.2/29";
  const byRest = "10.1.2.3/29";
  test.each([
    ["as long as usual", {}, noFacts, byRest],
    ["as the daemon says", {}, facts(0), byOrder],
    ["as the configuration says", { quarantineSeconds: 60 }, facts(0), byRest],
    ["in host-local's place not at all", { type: "host-local" }, facts(60), byOrder],
    ["there too if asked to", { type: "host-local", quarantineSeconds: 1 }, noFacts, byRest],
  ])("lets freed addresses rest %s", async (_name, more, known, expected) => {
    const ipam = { ranges: [set("10.1.2.0/29")], ...more };
    const one = { ipam, facts: known };
    for (const container of ["a", "b", "c", "d", "e"]) await call({ ...one, container });
    for (const container of ["b", "a"]) await call({ ...one, container, command: "DEL" });
    expect(addressesOf(await call({ ...one, container: "f" }))).toEqual([expected]);
  });

  test("says of the lease whom it is for, where that is a sandbox", async () => {
    const ipam = { ranges: [set("10.1.2.0/29")] };
    const args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME=web-0";
    await call({ ipam, args, netns: "/proc/self/ns/net" });
    await call({ ipam, container: "b", netns: "/proc/self/status" });
    const { leases } = await data.open().inventory("mynet", never);
    const { dev: device, ino: inode } = statSync("/proc/self/ns/net");
    expect(leases[0]?.details).toMatchObject({
      pod: { namespace: "demo", name: "web-0" },
      sandbox: { device, inode, path: "/proc/self/ns/net" },
    });
    expect(leases[1]?.details).not.toHaveProperty("sandbox");
  });

  test("answers with an IPAM result in the version asked for", async () => {
    const resolvConf = join(data.path, "resolv.conf");
    writeFileSync(resolvConf, "nameserver 192.0.2.53\nsearch a.example\n");
    const ipam = {
      resolvConf,
      ranges: [set("10.1.2.0/24"), set("2001:db8:1::/64")],
      routes: [{ dst: "0.0.0.0/0" }, { dst: "192.168.0.0/16", gw: "10.1.2.9" }],
    };
    const reply = await call({ ipam });
    expect(reply.stdout).toMatchInlineSnapshot(`
      "{
          "cniVersion": "1.1.0",
          "dns": {
              "nameservers": [
                  "192.0.2.53"
              ],
              "search": [
                  "a.example"
              ]
          },
          "ips": [
              {
                  "address": "10.1.2.2/24",
                  "gateway": "10.1.2.1"
              },
              {
                  "address": "2001:db8:1::2/64",
                  "gateway": "2001:db8:1::1"
              }
          ],
          "routes": [
              {
                  "dst": "0.0.0.0/0"
              },
              {
                  "dst": "192.168.0.0/16",
                  "gw": "10.1.2.9"
              }
          ]
      }"
    `);
    expect(
      addressesOf(await call({ ipam, conf: { cniVersion: "0.2.0" } }).then(inFamilies)),
    ).toEqual(["10.1.2.2/24", "2001:db8:1::2/64"]);
  });

  test("hl-conf-03: range sets are ipRanges, then subnet, then ranges", async () => {
    const ipam = { subnet: "10.2.0.0/24", ranges: [set("10.3.0.0/24")] };
    const conf = { runtimeConfig: { ipRanges: [set("10.1.0.0/24")] } };
    expect(addressesOf(await call({ ipam, conf }))).toEqual([
      "10.1.0.2/24",
      "10.2.0.2/24",
      "10.3.0.2/24",
    ]);
    expect(data.files()).toMatchObject({
      "last_reserved_ip.0": "10.1.0.2",
      "last_reserved_ip.1": "10.2.0.2",
      "last_reserved_ip.2": "10.3.0.2",
    });
  });

  test("hl-conf-04: unknown keys are ignored", async () => {
    const ipam = { subnet: "10.2.0.0/24", rangeOfMotion: 7 };
    const conf = { runtimeConfig: { unheard: [1] } };
    expect(addressesOf(await call({ ipam, conf }))).toEqual(["10.2.0.2/24"]);
  });

  test("hl-conf-01, hl-conf-06: the old flat keys, and an address from CNI_ARGS", async () => {
    const ipam = {
      subnet: "10.1.2.0/24",
      rangeStart: "10.1.2.9",
      rangeEnd: "10.1.2.20",
      gateway: "10.1.2.30",
    };
    expect(addressesOf(await call({ ipam }))).toEqual(["10.1.2.9/24"]);
    const requested = await call({ ipam, container: "b", args: "IP=10.1.2.11/24" });
    expect(addressesOf(requested)).toEqual(["10.1.2.11/24"]);
    expect(printed(requested)["ips"]).toMatchObject([{ gateway: "10.1.2.30" }]);
  });

  test("hl-conf-07: addresses requested through every channel", async () => {
    const ipam = {
      ranges: [set("10.1.0.0/24"), set("10.2.0.0/24"), set("10.3.0.0/24"), set("fd00::/64")],
    };
    const conf = {
      args: { cni: { ips: ["10.2.0.8/24", "fd00::8"] } },
      runtimeConfig: { ips: ["10.3.0.8"] },
    };
    expect(addressesOf(await call({ ipam, conf, args: "IP=10.1.0.8" }))).toEqual([
      "10.1.0.8/24",
      "10.2.0.8/24",
      "10.3.0.8/24",
      "fd00::8/64",
    ]);
  });

  test("hl-conf-15: 0.2.0 takes one set per family", async () => {
    const conf = { cniVersion: "0.2.0" };
    const both = { ranges: [set("10.1.0.0/24"), set("fd00::/64")] };
    expect((await call({ ipam: both, conf })).exitStatus).toBe(0);
    const twice = { ranges: [set("10.2.0.0/24"), set("fd01::/64"), set("10.3.0.0/24")] };
    const refused = printed(await call({ ipam: twice, conf, container: "b" }));
    expect(refused["msg"]).toContain("several range sets are IPv4");
    expect(data.addresses()).toHaveLength(2);
  });

  test.each<[string, IpamCall, number, string]>([
    ["hl-conf-09", { args: "IP=test" }, 4, '"test"'],
    ["hl-conf-09", { conf: { args: { cni: { ips: ["192.168.0.1000"] } } } }, 7, "192.168.0.1000"],
    ["hl-conf-09", { conf: { runtimeConfig: { ips: ["2001:db8::1/256"] } } }, 7, "2001:db8::1/256"],
    ["hl-conf-10", { conf: { runtimeConfig: { ips: [""] } } }, 7, '""'],
    ["hl-conf-12", { ipam: { ranges: [set("10.1.0.0/22", "10.1.2.0/24")] } }, 7, "overlapping"],
    ["hl-conf-16", { ipam: { subnet: "192.0.2.12/24" } }, 7, "192.0.2.0/24"],
    ["hl-conf-18", { ipam: { subnet: "2001:DB8:1::24:19ff:fee1:c44a/64" } }, 7, "2001:db8:1::/64"],
    ["hl-conf-19", { ipam: { subnet: "2001:DB8:24:19ff::/63" } }, 7, "2001:db8:24:19fe::/63"],
    ["hl-conf-21", { ipam: { subnet: "192.0.2.1/32" } }, 7, "too small"],
    ["hl-conf-39", { ipam: undefined }, 11, "no daemon"],
    ["hl-conf-40", { ipam: { ranges: [] } }, 11, "no daemon"],
    ["hl-conf-42", { ipam: { subnet: "::ffff:10.1.2.0/120" } }, 7, "::ffff:10.1.2.0/120"],
    ["hl-conf-45", { ipam: { subnet: "10.1.2.0/24", resolvConf: "/no/such" } }, 7, "/no/such"],
    ["hl-conf-48", { conf: { name: "a/b" } }, 7, "a/b"],
    ["hl-conf-48", { conf: { name: ".." } }, 7, ".."],
  ])("%s: refuses %j, and nothing is allocated", async (_id, given, code, message) => {
    const reply = await call({ ipam: { subnet: "10.1.2.0/24" }, ...given });
    expect(reply.exitStatus).toBe(1);
    expect(printed(reply)).toMatchObject({ code, msg: expect.stringContaining(message) });
    expect(() => data.addresses()).toThrow("ENOENT");
  });

  test("hl-conf-46: with resolvConf read and the range full, nothing is leaked", async () => {
    const resolvConf = join(data.path, "resolv.conf");
    writeFileSync(resolvConf, "nameserver 192.0.2.53\n");
    const ipam = { resolvConf, ranges: [set("10.1.2.0/24"), set("10.1.3.0/30")] };
    await call({ ipam });
    const full = await call({ ipam, container: "b" });
    expect(printed(full)).toMatchObject({ code: CniCode.addressesExhausted });
    expect(data.addresses()).toEqual(["10.1.2.2", "10.1.3.2"]);
  });

  test("without ranges the daemon's network has the node's pod CIDRs, another has none", async () => {
    const facts = () => ({
      nodeName: "node-a",
      network: "mynet",
      podCidrs: [cidr("10.244.3.0/24"), cidr("fd00:3::/64")],
    });
    expect(addressesOf(await call({ facts }))).toEqual(["10.244.3.2/24", "fd00:3::2/64"]);
    const other = printed(await call({ facts, conf: { name: "other" } }));
    expect(other).toMatchObject({ code: 7, msg: expect.stringContaining('network "mynet"') });
  });

  describe("withholds from pods", () => {
    const facts = () => ({
      nodeName: "node-a",
      network: "mynet",
      podCidrs: [cidr("10.244.3.0/29")],
      reserved: [{ first: ip("10.244.3.2"), last: ip("10.244.3.4") }],
    });
    // The whole subnet, from the base on: host-local takes it.
    const own = [[{ subnet: "10.244.3.0/29", rangeStart: "10.244.3.0", rangeEnd: "10.244.3.7" }]];
    const refusal = async (request: Parameters<typeof call>[0]): Promise<unknown> =>
      printed(await call(request));

    test("what is reserved, and the overlay's address, of the node's blocks and of any range", async () => {
      const given = [
        ...addressesOf(await call({ facts, container: "a" })),
        ...addressesOf(await call({ facts, container: "b" })),
        ...addressesOf(await call({ facts, container: "c", ipam: { ranges: own } })),
      ];
      expect(given).toEqual(["10.244.3.5/29", "10.244.3.6/29", "10.244.3.7/29"]);
      expect(await refusal({ facts, container: "d", ipam: { ranges: own } })).toMatchObject({
        code: 100,
        msg: expect.stringContaining("3 of 3 are held"),
      });
    });

    test("both also when a pod asks for them, and says why", async () => {
      const asked = (address: string) =>
        refusal({ facts, ipam: { ranges: own }, args: `IP=${address}` });
      expect(await asked("10.244.3.3")).toMatchObject({
        code: 7,
        msg: expect.stringContaining('"10.244.3.3" of network "mynet": it is reserved'),
      });
      expect(await asked("10.244.3.0")).toMatchObject({
        code: 7,
        msg: expect.stringContaining('"10.244.3.0" of network "mynet": it is that of the VXLAN'),
      });
    });
  });

  test("dataDir says where", async () => {
    using other = createDataDir();
    await call({ ipam: { subnet: "10.1.2.0/24", dataDir: other.path } });
    expect(other.addresses()).toEqual(["10.1.2.2"]);
    await call({ command: "DEL", ipam: { dataDir: other.path } });
    expect(other.addresses()).toEqual([]);
  });
});

describe("DEL and CHECK", () => {
  const ipam = { subnet: "10.1.2.0/24" };
  test("follow a lease", async () => {
    await call({ ipam });
    expect(await call({ command: "CHECK", ipam })).toMatchObject({ exitStatus: 0, stdout: "" });
    expect(await call({ command: "DEL", ipam })).toMatchObject({ exitStatus: 0, stdout: "" });
    const gone = printed(await call({ command: "CHECK", ipam }));
    expect(gone).toMatchObject({
      code: CniCode.checkFailed,
      msg: expect.stringContaining("dummy"),
    });
  });

  test("DEL works whatever has become of the configuration", async () => {
    await call({ ipam });
    const bad = { ipam: { ranges: [[{ subnet: "10.1.2.1/99" }]], resolvConf: "/no/such" } };
    expect(await call({ command: "DEL", ...bad })).toMatchObject({ exitStatus: 0 });
    expect(data.addresses()).toEqual([]);
  });
});

describe("GC", () => {
  const ipam = { subnet: "10.1.2.0/24" };
  beforeEach(async () => {
    await call({ ipam });
    await call({ ipam, container: "other" });
  });
  const valid = [{ containerID: "dummy", ifname: "eth0" }];

  test.each([
    ["hl-disk-14, a list", { "cni.dev/valid-attachments": valid }, ["10.1.2.2"]],
    ["hl-disk-15, null", { "cni.dev/valid-attachments": null }, []],
  ])("%s", async (_id, conf, left) => {
    expect(await call({ command: "GC", ipam, conf })).toMatchObject({ exitStatus: 0, stdout: "" });
    expect(data.addresses()).toEqual(left);
    expect(warnings).toEqual([]);
  });

  test("without the key nothing is freed, with a warning", async () => {
    expect(await call({ command: "GC", ipam })).toMatchObject({ exitStatus: 0 });
    expect(data.addresses()).toHaveLength(2);
    expect(warnings).toEqual(["GC names no valid attachments: nothing is freed"]);
  });
});

describe("STATUS", () => {
  const status = (ipam: object) => call({ command: "STATUS", ipam });
  test("is ready while every set has an address", async () => {
    expect(await status({ subnet: "10.1.2.0/30" })).toMatchObject({ exitStatus: 0, stdout: "" });
  });

  test("hl-disk-26: is 50 when a set is full", async () => {
    const ipam = { ranges: [set("10.1.3.0/24"), set("10.1.2.0/30")] };
    await call({ ipam });
    expect(printed(await status(ipam))).toMatchObject({
      code: CniCode.notAvailable,
      msg:
        'No address is left in network "mynet": 1 of 1 are held ' +
        "in 10.1.2.1-10.1.2.2 of 10.1.2.0/30",
    });
  });

  test("is 50 when the directory cannot be written, or no daemon has said what to give", async () => {
    writeFileSync(join(data.path, "mynet"), "a file in its place");
    const unwritable = printed(await status({ subnet: "10.1.2.0/30" }));
    expect(unwritable).toMatchObject({ code: 50, msg: expect.stringContaining(data.path) });
    expect(printed(await status({}))).toMatchObject({ code: 50, msg: "no daemon" });
  });
});

test("hl-disk-08: a first ADD prints nothing but its result", async () => {
  const reply = await call({ ipam: { subnet: "10.1.2.0/24" } });
  expect(reply.stderr).toBe("");
  expect(JSON.parse(reply.stdout)).toHaveProperty("ips");
  expect(warnings).toEqual([]);
  expect(await data.open().release(key("dummy"), never)).toEqual(["10.1.2.2"]);
});

test("the README's example is served", async () => {
  const readme = readFileSync(join(import.meta.dirname, "README.md"), "utf8");
  const conf = JSON.parse(/```json\n(.*?)```/s.exec(readme)![1]!) as { readonly ipam: object };
  const { ipam } = conf;
  expect(addressesOf(await call({ conf, ipam: { ...ipam } }))).toEqual([
    "10.1.2.20/24",
    "fd00:1:2::2/64",
  ]);
});

/** The per-family result of CNI 0.2.0, as the list that later versions have. */
function inFamilies(reply: CniReply): CniReply {
  const { ip4, ip6 } = printed(reply) as { ip4: { ip: string }; ip6: { ip: string } };
  const ips = [ip4, ip6].map(({ ip }) => ({ address: ip }));
  return { ...reply, stdout: JSON.stringify({ ips }) };
}
