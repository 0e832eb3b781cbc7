import { describe, expect, test } from "vitest";
import { parseConfHeader, parseNetConf } from "./config.ts";
import { CniCode } from "./error.ts";
import type { CniCommand, NetConf } from "./types.ts";

const parse = (
  more: object,
  args: Record<string, string> = {},
  command: CniCommand = "ADD",
): NetConf => {
  const raw = JSON.stringify({ cniVersion: "1.0.0", name: "n", type: "fairlead", ...more });
  return parseNetConf(parseConfHeader(raw), {
    command,
    cniVersion: "1.0.0",
    args: new Map(Object.entries(args)),
  });
};
const runtime = (runtimeConfig: unknown) => ({ runtimeConfig });
const ports = (...portMappings: readonly unknown[]) => runtime({ portMappings });
const tcp = { hostPort: 8080, containerPort: 80, protocol: "tcp" };

describe("portMappings", () => {
  test.each([
    ["a runtime's", tcp, { protocol: "tcp", hostPort: 8080, containerPort: 80 }],
    [
      "containerd's keys and empty hostIP (portmap-39)",
      { HostPort: 8080, ContainerPort: 80, Protocol: "udp", HostIP: "" },
      { protocol: "udp", hostPort: 8080, containerPort: 80 },
    ],
    [
      "a protocol in capitals, and one address (portmap-41)",
      { ...tcp, protocol: "SCTP", hostIP: "192.0.2.1" },
      { protocol: "sctp", hostIp: "192.0.2.1", hostPort: 8080, containerPort: 80 },
    ],
    [
      "one IPv6 address, in any of its forms",
      { ...tcp, hostIP: "2001:DB8::0001" },
      { protocol: "tcp", hostIp: "2001:db8::1", hostPort: 8080, containerPort: 80 },
    ],
    [
      "all addresses of a family",
      { ...tcp, hostIP: "::" },
      { protocol: "tcp", hostIp: "::", hostPort: 8080, containerPort: 80 },
    ],
    [
      "the highest port",
      { ...tcp, hostPort: 65535, containerPort: 65535 },
      { protocol: "tcp", hostPort: 65535, containerPort: 65535 },
    ],
  ])("takes %s", (_what, given, expected) => {
    expect(parse(ports(given)).portMappings).toEqual([expected]);
  });

  test.each([
    {},
    runtime(null),
    runtime({}),
    runtime({ portMappings: null }),
    runtime({ portMappings: [] }),
  ])("is nothing in %j (portmap-38)", (more) => {
    expect(parse(more)).not.toHaveProperty("portMappings");
  });

  test.each([
    [{ ...tcp, hostPort: 0 }, ".hostPort 0: expected a whole number from 1 to 65535"],
    [{ ...tcp, hostPort: 70000 }, ".hostPort 70000: expected a whole number from 1 to 65535"],
    [{ ...tcp, hostPort: -1 }, ".hostPort -1: expected"],
    [{ ...tcp, hostPort: "80" }, '.hostPort "80": expected'],
    [{ ...tcp, hostPort: 80.5 }, ".hostPort 80.5: expected"],
    [{ ...tcp, containerPort: 0 }, ".containerPort 0: expected"],
    [{ hostPort: 1, protocol: "tcp" }, ': expected the key "containerPort"'],
    [{ hostPort: 1, containerPort: 1 }, ': expected the key "protocol"'],
    [{ ...tcp, protocol: "" }, '.protocol "": expected tcp, udp or sctp'],
    [{ ...tcp, protocol: "icmp" }, '.protocol "icmp": expected tcp, udp or sctp'],
    [{ ...tcp, protocol: 6 }, ".protocol 6: expected a string"],
    [{ ...tcp, hostIP: "not-an-ip" }, '.hostIP "not-an-ip": expected an IP address'],
    [{ ...tcp, hostIP: "192.0.2.1/24" }, '.hostIP "192.0.2.1/24": expected an IP address'],
    ["8080:80", ' "8080:80": expected an object'],
  ])(
    "refuses %j naming the value (portmap-03, portmap-05, portmap-24, portmap-42)",
    (given, problem) => {
      expect(() => parse(ports(given))).toThrow(
        expect.objectContaining({
          code: CniCode.invalidConfig,
          message: expect.stringContaining(`Invalid runtimeConfig.portMappings[0]${problem}`),
        }),
      );
    },
  );

  test("refuses what is no list", () => {
    expect(() => parse(runtime({ portMappings: tcp }))).toThrow("expected a list");
  });

  test.each([
    ["to two ports of the pod", {}, {}],
    ["for all addresses and for those of a family", {}, { hostIP: "0.0.0.0" }],
    ["at one address", { hostIP: "192.0.2.1" }, { hostIP: "192.0.2.1" }],
  ])("refuses a host port that is said twice, %s", (_how, one, other) => {
    expect(() => parse(ports({ ...tcp, ...one }, { ...tcp, ...other, containerPort: 81 }))).toThrow(
      /portMappings\[1\].*expected a hostPort that no other mapping has/,
    );
  });

  test("takes one said twice alike once, and each of Nomad's protocols", () => {
    const udp = { ...tcp, protocol: "udp" };
    expect(parse(ports(tcp, udp, tcp)).portMappings).toHaveLength(2);
  });

  test.each(["DEL", "GC"] as const)("of any kind do not stand in the way of %s", (command) => {
    expect(parse(ports({ hostPort: 0 }), {}, command)).not.toHaveProperty("portMappings");
  });
});

describe("mac", () => {
  const [a, b, c] = ["02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c"];
  test.each([
    ["CNI_ARGS", {}, { MAC: a }, a],
    ["args.cni before CNI_ARGS", { args: { cni: { mac: b } } }, { MAC: a }, b],
    [
      "runtimeConfig before both",
      { args: { cni: { mac: b } }, runtimeConfig: { mac: c } },
      { MAC: a },
      c,
    ],
    [
      "what is not empty",
      { args: { cni: { mac: "" } }, runtimeConfig: { mac: "" } },
      { MAC: a },
      a,
    ],
    ["capitals", runtime({ mac: "02:00:00:00:00:0C" }), {}, c],
  ])("is that of %s (bridge-21)", (_where, more, args, expected) => {
    expect(parse(more, args).mac).toBe(expected);
  });

  test.each([
    "02:00:00:00:00",
    "red",
    "01:00:5e:00:00:01",
    "ff:ff:ff:ff:ff:ff",
    "00:00:00:00:00:00",
  ])("refuses %j wherever it is", (mac) => {
    const places = [runtime({ mac }), { args: { cni: { mac } } }].map((more) => () => parse(more));
    for (const attempt of [...places, () => parse({}, { MAC: mac })]) {
      expect(attempt).toThrow(
        expect.objectContaining({
          code: CniCode.invalidConfig,
          message: expect.stringContaining(JSON.stringify(mac)),
        }),
      );
    }
  });
});

describe("dns", () => {
  test("is what the runtime says, in a result's words", () => {
    const dns = { Servers: ["192.0.2.53"], Searches: ["a.example"], Options: ["ndots:2"] };
    expect(parse(runtime({ dns })).runtimeDns).toEqual({
      nameservers: ["192.0.2.53"],
      search: ["a.example"],
      options: ["ndots:2"],
    });
  });

  test.each([null, {}, { servers: null, searches: [], options: [] }])("is nothing in %j", (dns) => {
    expect(parse(runtime({ dns }))).not.toHaveProperty("runtimeDns");
  });

  test("refuses what is no list of text", () => {
    expect(() => parse(runtime({ dns: { servers: "192.0.2.53" } }))).toThrow(
      'Invalid runtimeConfig.dns.servers "192.0.2.53": expected a list',
    );
  });
});

describe("aliases", () => {
  test("are DNS labels, in lower case, each once", () => {
    expect(parse(runtime({ aliases: ["Web", "web", "my_db-1", "9"] })).aliases).toEqual([
      "web",
      "my_db-1",
      "9",
    ]);
  });

  test("are the network's own where podman gives them by network", () => {
    const { name } = parse({});
    const aliases = { other: ["x"], [name]: ["306a0bca3aab", "web"] };
    expect(parse(runtime({ aliases })).aliases).toEqual(["306a0bca3aab", "web"]);
    expect(parse(runtime({ aliases: { other: ["x"] } })).aliases).toBeUndefined();
    expect(() => parse(runtime({ aliases: { [name]: ["a.b"] } }))).toThrow(
      `Invalid runtimeConfig.aliases.${name}[0] "a.b"`,
    );
  });

  test.each(["", "-a", "a-", "a.b", "a b", "ä", "a".repeat(64), 7])("refuses %j", (alias) => {
    expect(() => parse(runtime({ aliases: ["ok", alias] }))).toThrow(
      /^Invalid runtimeConfig\.aliases\[1\] .*: expected a/,
    );
  });
});
