import { describe, expect, test } from "vitest";
import { parseConfig } from "./config.ts";

const where = "/etc/fairlead/fairlead.yaml";
const parse = (text: string) => parseConfig(text, where, { nodeName: "node-a" });
const messageOf = (text: string): string => {
  try {
    parse(text);
  } catch (error) {
    return (error as Error).message;
  }
  return "no error";
};

describe("parseConfig()", () => {
  test("gives the documented defaults for an empty file", () => {
    expect(parse("")).toEqual({
      nodeName: "node-a",
      cluster: {
        source: { kind: "file", directory: "/etc/fairlead/cluster.d" },
        removalGraceSeconds: 300,
      },
      cni: { confDir: "/etc/cni/net.d" },
      network: {
        name: "fairlead",
        podCidrs: ["10.244.0.0/16"],
        nodePrefixLength: { ipv4: 24, ipv6: 64 },
        serviceCidrs: ["10.96.0.0/16"],
        pools: [],
        ipam: { reserved: [], quarantineSeconds: 60, sticky: false, leaseGraceSeconds: 300 },
        backend: "auto",
        vxlan: { vni: 1, port: 4789, checksumOffload: true },
        interface: "auto",
        mtu: "auto",
        masquerade: { isEnabled: true, except: [] },
      },
      dns: {
        isEnabled: true,
        domain: "cluster.local",
        ttl: 5,
        pods: "insecure",
        addresses: ["10.96.0.10"],
        autopath: true,
        isAhead: true,
        clients: [],
        limits: { queriesPerSecond: 50_000, pending: 256 },
        realtimeShare: 0.3,
        upstreams: "auto",
        forward: { mixCase: false },
        log: { share: 0, perSecond: 50 },
        cache: {
          maxBytes: 16_777_216,
          maxTtl: 3600,
          minTtl: 0,
          maxNegativeTtl: 1800,
          maxStale: 86_400,
        },
        site: { stubs: {}, hosts: {}, rewrite: {}, ttls: {} },
      },
      metrics: { listen: { address: "127.0.0.1", port: 9440 } },
      log: { level: "info" },
    });
  });

  test("takes a section with nothing in it as the defaults", () => {
    expect(parse("network:\ndns:\n  ttl:\n").network.backend).toBe("auto");
  });

  test("reads every form of value", () => {
    const config = parse(`
nodeName: worker-7.example.org
network:
  podCIDRs: [10.0.0.0/8, "fd00:10::/48"]
  serviceCIDRs: [172.20.0.0/16]
  interface: bond0.12
  mtu: 8950
  pools:
    - { name: db, cidrs: [192.168.0.0/20, "fd00:11::/48"], namespaces: [shop], nodePrefixLength: { ipv4: 26 } }
  ipam: { quarantineSeconds: 0, sticky: true, leaseGraceSeconds: 9, reserved: [10.0.0.9, 10.0.1.0-10.0.1.9, "fd00:10::/126"] }
  masquerade: { enabled: false, except: [192.0.2.0/24] }
dns: { upstreams: [192.0.2.53, "192.0.2.54:5353", "[2001:db8::53]:53", "2001:db8::54"], addresses: [172.20.0.10] }
metrics: { listen: "[::1]:9999" }
`);
    expect(config.nodeName).toBe("worker-7.example.org");
    expect(config.network).toMatchObject({
      podCidrs: ["10.0.0.0/8", "fd00:10::/48"],
      interface: "bond0.12",
      mtu: 8950,
      pools: [
        {
          name: "db",
          cidrs: ["192.168.0.0/20", "fd00:11::/48"],
          namespaces: ["shop"],
          nodePrefixLength: { ipv4: 26, ipv6: 64 },
        },
      ],
      ipam: {
        quarantineSeconds: 0,
        sticky: true,
        leaseGraceSeconds: 9,
        reserved: [
          { first: "10.0.0.9", last: "10.0.0.9" },
          { first: "10.0.1.0", last: "10.0.1.9" },
          { first: "fd00:10::", last: "fd00:10::3" },
        ],
      },
    });
    expect(config.dns.upstreams).toEqual([
      { address: "192.0.2.53", port: 53 },
      { address: "192.0.2.54", port: 5353 },
      { address: "2001:db8::53", port: 53 },
      { address: "2001:db8::54", port: 53 },
    ]);
    expect(config.metrics.listen).toEqual({ address: "::1", port: 9999 });
  });

  test.each([
    ["nodename: a", `:1: Unknown key nodename: did you mean "nodeName"`],
    [
      "network:\n  vxlan: { vni: 1, prot: 2 }",
      `:2: Unknown key network.vxlan.prot: did you mean "port"`,
    ],
    [
      "kubernetes: {}",
      `:1: Unknown key kubernetes: known keys are nodeName, cluster, cni, network, dns, metrics and log`,
    ],
    [
      "network: { backend: vxlna }",
      `:1: Cannot use network.backend "vxlna": expected vxlan, direct or auto`,
    ],
    [
      "network:\n  podCIDRs:\n    - 10.244.0.0/16\n    - 10.9.0.1/16",
      `:4: Cannot use network.podCIDRs[1] "10.9.0.1/16": expected a network such as 10.244.0.0/16, without host bits`,
    ],
    [
      "network: { podCIDRs: [10.0.0.0/16, 10.1.0.0/16] }",
      `:1: Cannot use network.podCIDRs ["10.0.0.0/16","10.1.0.0/16"]: expected one network per family, at least one`,
    ],
    ...[
      ["127.16.0.0/16", "127.0.0.0/8, which is loopback"],
      ["224.0.0.0/8", "224.0.0.0/4, which is multicast"],
      ["0.0.0.0/8", "0.0.0.0/8, which is unspecified"],
      ["169.254.0.0/16", "169.254.0.0/16, which is link-local"],
      ["fe80::/16", "fe80::/10, which is link-local"],
      ["ff00::/16", "ff00::/8, which is multicast"],
    ].map(([network, expected]) => [
      `network: { podCIDRs: ["${network}"], serviceCIDRs: [], nodePrefixLength: { ipv4: 24, ipv6: 64 } }`,
      `:1: Cannot use network.podCIDRs[0] "${network}": expected a network outside ${expected}`,
    ]),
    [
      "network: { pools: [{ name: db, cidrs: [127.0.0.0/16] }] }",
      `:1: Cannot use network.pools[0].cidrs[0] "127.0.0.0/16": expected a network outside 127.0.0.0/8, which is loopback`,
    ],
    [
      "network: { vxlan: { port: 70000 } }",
      `:1: Cannot use network.vxlan.port 70000: expected a whole number from 1 to 65535`,
    ],
    [
      "network: { pools: [{ name: db, cidr: 10.250.0.0/16 }] }",
      `: 2 problems
  line 1: Unknown key network.pools[0].cidr: did you mean "cidrs"`,
    ],
    [
      "network: { pools: [{ name: default, cidrs: [10.250.0.0/16] }] }",
      `:1: Cannot use network.pools[0].name "default": expected another name: that is the pool of podCIDRs`,
    ],
    [
      "network: { pools: [{ name: db, cidrs: [10.250.0.0/16] }, { name: db, cidrs: [10.251.0.0/16] }] }",
      `:1: Cannot use network.pools[1].name "db": expected a name of its own for each pool`,
    ],
    [
      "network: { pools: [{ name: db, cidrs: [10.244.8.0/24] }] }",
      `:1: Cannot use network.pools[0].cidrs[0] "10.244.8.0/24": expected a network outside podCIDRs 10.244.0.0/16`,
    ],
    [
      "network: { pools: [{ name: db, cidrs: [10.250.0.0/16] }, { name: edge, cidrs: [10.250.1.0/24] }] }",
      `:1: Cannot use network.pools[1].cidrs[0] "10.250.1.0/24": expected a network outside pool db 10.250.0.0/16`,
    ],
    [
      "network: { pools: [{ name: db, cidrs: [10.96.0.0/12] }] }",
      `: 2 problems
  line 1: Cannot use network.serviceCIDRs[0] "10.96.0.0/16": expected a network outside pool db 10.96.0.0/12`,
    ],
    [
      "network: { pools: [{ name: db, cidrs: [10.250.0.0/16], nodePrefixLength: { ipv4: 12 } }] }",
      `:1: Cannot use network.pools[0].nodePrefixLength.ipv4 12: expected 16 or more, as in 10.250.0.0/16`,
    ],
    [
      "network: { pools: [{ name: a, cidrs: [10.250.0.0/16], namespaces: [x] }, { name: b, cidrs: [10.251.0.0/16], namespaces: [x] }] }",
      `:1: Cannot use network.pools[1].namespaces[0] "x": expected a namespace that no other pool has: a has it`,
    ],
    [
      "network: { pools: [{ name: db, cidrs: [] }] }",
      `:1: Cannot use network.pools[0].cidrs []: expected at least one network`,
    ],
    [
      "network: { ipam: { reserved: [10.244.1.9-10.244.1.2] } }",
      `:1: Cannot use network.ipam.reserved[0] "10.244.1.9-10.244.1.2": expected an address, a range such as 10.244.1.10-10.244.1.19, or a network`,
    ],
    [
      "network: { mtu: 60 }",
      `:1: Cannot use network.mtu 60: expected a whole number from 576 to 65535`,
    ],
    [
      "network: { interface: a-name-too-long-for-linux }",
      `:1: Cannot use network.interface "a-name-too-long-for-linux": expected auto or the name of an interface`,
    ],
    [
      "network: { openFirewall: true }",
      `:1: Cannot use network.openFirewall true: expected false: this version adds no rules to a foreign firewall`,
    ],
    [
      "cluster: { source: consul }",
      `:1: Cannot use cluster.source "consul": expected file, etcd or kubernetes`,
    ],
    [
      "cluster: { etcd: { prefix: /x/ } }",
      `:1: Cannot use cluster.etcd.prefix "/x/": expected a path such as /fairlead, without a slash at its end`,
    ],
    [
      "cluster: { etcd: { endpoints: [https://etcd:2379/v3] } }",
      `:1: Cannot use cluster.etcd.endpoints[0] "https://etcd:2379/v3": expected http://host:port or https://host:port`,
    ],
    [
      "cluster: { etcd: { endpoints: [] } }",
      `:1: Cannot use cluster.etcd.endpoints []: expected at least one endpoint`,
    ],
    [
      "cluster: { etcd: { cert: /etc/etcd/client.pem } }",
      `:1: Cannot use cluster.etcd.cert "/etc/etcd/client.pem": expected key with it`,
    ],
    [
      "cluster: { etcd: { passwordFile: /etc/etcd/password } }",
      `:1: Cannot use cluster.etcd.passwordFile "/etc/etcd/password": expected user with it`,
    ],
    [
      "cluster: { etcd: { endpoints: [http://a:2379], ca: /etc/etcd/ca.pem } }",
      `:1: Cannot use cluster.etcd.ca "/etc/etcd/ca.pem": expected an endpoint with https`,
    ],
    [
      "cluster: { file: { directory: cluster.d } }",
      `:1: Cannot use cluster.file.directory "cluster.d": expected an absolute path`,
    ],
    [
      "dns: { upstreams: [192.0.2.1, 192.0.2.300] }",
      `:1: Cannot use dns.upstreams[1] "192.0.2.300": expected an address, address:port or [address]:port, or tls:// before one of them and #name behind it`,
    ],
    [
      "dns: { upstreams: none }",
      `:1: Cannot use dns.upstreams "none": expected auto or a list of addresses, each with a port where it is not 53, and tls:// before it for TLS`,
    ],
    [
      "dns: { stubs: { corp.example: [] } }",
      ':1: Cannot use dns.stubs["corp.example"] []: expected at least one address',
    ],
    [
      "dns: { hosts: { a.example: [b] } }",
      ':1: Cannot use dns.hosts["a.example"][0] "b": expected an IPv4 or IPv6 address',
    ],
    [
      "dns: { hosts: { a.cluster.local: [192.0.2.1] } }",
      ':1: Cannot use dns.hosts["a.cluster.local"]: expected a name outside dns.domain cluster.local',
    ],
    [
      'dns: { rewrite: { "*.a.example": b.example } }',
      ':1: Cannot use dns.rewrite["*.a.example"] "b.example": expected *. and a domain, as before it',
    ],
    ["dns: { ttl: soon }", `:1: Cannot use dns.ttl "soon": expected a whole number from 0 to 3600`],
    ["dns: 7", `:1: Cannot use dns 7: expected a mapping`],
    [
      "metrics: { listen: 9440 }",
      `:1: Cannot use metrics.listen 9440: expected address:port or [address]:port`,
    ],
    ["- a", `:1: Cannot use ["a"]: expected a mapping`],
    [
      "network: { nodePrefixLength: { ipv4: 12 } }",
      `:1: Cannot use network.nodePrefixLength.ipv4 12: expected 16 or more, as in 10.244.0.0/16`,
    ],
    [
      "network: { serviceCIDRs: [10.244.8.0/24] }",
      `:1: Cannot use network.serviceCIDRs[0] "10.244.8.0/24": expected a network outside podCIDRs 10.244.0.0/16`,
    ],
    [
      "dns: { addresses: [10.244.0.10] }",
      `:1: Cannot use dns.addresses[0] "10.244.0.10": expected an address outside podCIDRs 10.244.0.0/16`,
    ],
    ["a: 1\n---\nb: 2", ": 2 problems\n"],
    ["dns: [", ":1: Cannot parse YAML: "],
    ["dns: {}\ndns: {}", ":2: Cannot parse YAML: Map keys must be unique"],
  ])("refuses %j", (text, message) => {
    expect(messageOf(text).startsWith(where + message) ? message : messageOf(text)).toBe(message);
  });

  test("reports everything that is wrong, by line", () => {
    expect(messageOf("network:\n  backend: gre\n  mtuu: 1\ndns:\n  ttl: -1\n")).toBe(
      `${where}: 3 problems
  line 2: Cannot use network.backend "gre": expected vxlan, direct or auto
  line 3: Unknown key network.mtuu: did you mean "mtu"
  line 5: Cannot use dns.ttl -1: expected a whole number from 0 to 3600`,
    );
  });

  test("names values that do not fit together also where others cannot be read", () => {
    expect(
      messageOf(`network:
  podCIDRs: [10.244.0.0/16]
  serviceCIDRs: [nonsense, 10.244.8.0/24]
  pools:
    - { cidrs: [10.245.0.0/16] }
    - { name: db, cidrs: [10.244.128.0/17, 10.250.0.0/16] }
    - { name: db, cidrs: [10.251.0.0/16], nodePrefixLength: { ipv4: 12 } }
  mtu: 5
dns:
  addresses: [10.250.0.10]
`),
    ).toBe(
      `${where}: 8 problems
  line 3: Cannot use network.serviceCIDRs[0] "nonsense": expected a network such as 10.244.0.0/16, without host bits
  line 3: Cannot use network.serviceCIDRs[1] "10.244.8.0/24": expected a network outside podCIDRs 10.244.0.0/16
  line 5: Cannot find network.pools[0].name: expected up to 63 lower-case letters, digits and -
  line 6: Cannot use network.pools[1].cidrs[0] "10.244.128.0/17": expected a network outside podCIDRs 10.244.0.0/16
  line 7: Cannot use network.pools[2].nodePrefixLength.ipv4 12: expected 16 or more, as in 10.251.0.0/16
  line 7: Cannot use network.pools[2].name "db": expected a name of its own for each pool
  line 8: Cannot use network.mtu 5: expected a whole number from 576 to 65535
  line 10: Cannot use dns.addresses[0] "10.250.0.10": expected an address outside pool db 10.250.0.0/16`,
    );
  });

  test.each([
    // The default of what cannot be read contradicts nobody.
    "network: { podCIDRs: [10.0.0.0/33], serviceCIDRs: [10.244.8.0/24] }",
    "network: { podCIDRs: [10.243.0.0/16], serviceCIDRs: x, pools: [{ name: a, cidrs: [10.95.0.0/16] }] }",
    "network: { nodePrefixLength: { ipv4: x }, pools: [{ name: a, cidrs: [10.95.0.0/26] }], serviceCIDRs: [] }",
    "dns: { domain: a b, stubs: { cluster.local: [192.0.2.1] } }",
    "network: 5",
    "- 1",
  ])("says of %j only what cannot be read", (text) => {
    expect(messageOf(text)).toMatch(/^[^\n]*:1: Cannot use [^\n]*$/);
  });
});
