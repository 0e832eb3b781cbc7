// Rows of the reference plugins (rows.ts), as a user of fairlead sees them: its own answer to what bridge,
// ptp and portmap do, and those that stand behind it in a chain, or give it addresses. Each ends with
// nothing left.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { hostInterfaceName } from "../../core/names.ts";
import { type ChainNode, build, openChainNode, writePlugin } from "./chain-node.ts";

const hostInterface = hostInterfaceName({
  network: "fairlead",
  containerId: "chained",
  ifName: "eth0",
});

let lab: ChainNode;
let directory: string;
beforeAll(() => {
  build();
  directory = mkdtempSync(join(tmpdir(), "fairlead-rows-"));
});
afterAll(() => rmSync(directory, { recursive: true }));
beforeEach(async () => void (lab = await openChainNode()));
afterEach(() => lab[Symbol.asyncDispose]());

const fairlead = { type: "fairlead" };
type Row = readonly [ids: string, what: string, check: () => Promise<void>];

const given = { cniVersion: "1.0.0", ips: [{ address: "10.9.0.7/24" }] };

/** The plugin behind ours refuses; the DEL that follows leaves nothing. */
const refusedBy = (type: string, conf: object) => async (): Promise<void> => {
  const chain = lab.chainOf([fairlead, { type, ...conf }]);
  expect((await chain.run("ADD")).error).toMatchObject({ plugin: type });
  await chain.pass("DEL");
};

const inRange = () =>
  lab.chainOf([{ ...fairlead, ipam: { subnet: "10.1.2.0/24" } }], { name: "other" });

const interfaces: readonly Row[] = [
  [
    "bridge-01, ptp-01, bridge-30",
    "a configuration's own range: an address of it, a default route, CHECK passes",
    () =>
      lab.live(inRange(), async ({ ips }) => {
        expect(ips).toEqual([{ address: "10.1.2.2/32", gateway: "169.254.1.1", interface: 1 }]);
        expect(await lab.inPod("ip", "route")).toContain("default via 169.254.1.1 dev eth0");
        await lab.ping("10.1.2.2");
      }),
  ],
  ["bridge-28, ptp-07", "DEL of what never was", () => inRange().pass("DEL")],
  [
    "bridge-31",
    "CHECK after the address was removed by hand",
    async () => {
      const chain = lab.chainOf([fairlead]);
      const result = await chain.add();
      await lab.inPod("ip", "address", "del", "10.244.1.2/32", "dev", "eth0");
      expect((await chain.run("CHECK", result)).error).toMatchObject({ code: 102 });
      await chain.pass("DEL", result);
    },
  ],
  [
    "bridge-34",
    "DEL after the interface was removed by hand",
    async () => {
      const chain = lab.chainOf([fairlead]);
      const result = await chain.add();
      await lab.onNode("ip", "link", "del", hostInterface);
      await chain.pass("DEL", result);
    },
  ],
  [
    "bridge-36",
    "an MTU of 5000 at both ends",
    () =>
      lab.live(lab.chainOf([{ ...fairlead, mtu: 5000 }]), async () => {
        expect(await lab.inPod("ip", "link", "show", "eth0")).toContain(" mtu 5000 ");
        expect(await lab.onNode("ip", "link", "show", hostInterface)).toContain(" mtu 5000 ");
      }),
  ],
  [
    "ptp-06",
    "a dns of the configuration replaces that of its IPAM plugin, empty as it may be",
    () => {
      const dns = { nameservers: ["10.50.0.53"] };
      const ipam = { type: "static", addresses: [{ address: "10.50.0.7/24" }], dns };
      const chain = lab.chainOf([{ ...fairlead, ipam, dns: { nameservers: [] } }]);
      return lab.live(chain, async (result) => expect(result.dns).toBeUndefined());
    },
  ],
];

/** What our maps lead to the pod, both families. */
const hostPorts = async (): Promise<readonly string[]> => {
  const table = await lab.onNode("nft", "list", "table", "inet", "fairlead");
  const pattern = /(?:[0-9a-f.:]+ \. )?(?:tcp|udp) \. \d+ : [0-9a-f.:]+ \. \d+/g;
  return (table.match(pattern) ?? []).toSorted();
};
const portMappings = [
  { hostPort: 8080, containerPort: 80, protocol: "tcp" },
  { hostPort: 8081, containerPort: 80, protocol: "tcp" },
  { hostPort: 8080, containerPort: 81, protocol: "udp" },
  { hostPort: 8082, containerPort: 82, protocol: "udp" },
  { hostPort: 8083, containerPort: 83, protocol: "tcp", hostIP: "192.168.0.2" },
  { hostPort: 8084, containerPort: 84, protocol: "tcp", hostIP: "0.0.0.0" },
  { hostPort: 8085, containerPort: 85, protocol: "tcp", hostIP: "2001:db8:a::1" },
  { hostPort: 8086, containerPort: 86, protocol: "tcp", hostIP: "::" },
];
const mapped = (plugin: object = {}, more: object = {}) =>
  lab.chainOf([{ ...fairlead, capabilities: { portMappings: true }, ...plugin }], {
    capabilityArgs: { portMappings },
    ...more,
  });

const ports: readonly Row[] = [
  [
    "portmap-18, portmap-30",
    "eight mappings lead where they should, in their families",
    () =>
      lab.live(mapped(), async () =>
        expect(await hostPorts()).toEqual(
          [
            "tcp . 8080 : 10.244.1.2 . 80",
            "tcp . 8081 : 10.244.1.2 . 80",
            "udp . 8080 : 10.244.1.2 . 81",
            "udp . 8082 : 10.244.1.2 . 82",
            "192.168.0.2 . tcp . 8083 : 10.244.1.2 . 83",
            "tcp . 8084 : 10.244.1.2 . 84",
            "tcp . 8080 : fd00:10:244:1::2 . 80",
            "tcp . 8081 : fd00:10:244:1::2 . 80",
            "udp . 8080 : fd00:10:244:1::2 . 81",
            "udp . 8082 : fd00:10:244:1::2 . 82",
            "2001:db8:a::1 . tcp . 8085 : fd00:10:244:1::2 . 85",
            "tcp . 8086 : fd00:10:244:1::2 . 86",
          ].toSorted(),
        ),
      ),
  ],
  [
    "portmap-02",
    "DEL without capabilities and previous result closes the ports",
    async () => {
      await mapped().add();
      expect(await hostPorts()).toHaveLength(12);
      await lab.chainOf([fairlead]).pass("DEL");
      expect(await hostPorts()).toEqual([]);
    },
  ],
  [
    "portmap-35",
    "CHECK before ADD",
    async () => {
      const result = await mapped().add();
      await mapped().pass("DEL", result);
      expect((await mapped().run("CHECK", result)).error).toMatchObject({ plugin: "fairlead" });
    },
  ],
  [
    "portmap-12",
    "a previous result whose address is of no interface",
    () => {
      const chain = lab.chainOf(
        [{ type: "first" }, { ...fairlead, capabilities: { portMappings: true } }],
        {
          capabilityArgs: { portMappings },
          pluginPath: writePlugin(directory, { name: "first", result: given }),
        },
      );
      return lab.live(chain, async () => expect(await hostPorts()).toHaveLength(12));
    },
  ],
  [
    "masq-04",
    "GC that lists the attachment takes nothing away",
    async () => {
      const chain = mapped({}, { version: "1.1.0" });
      const result = await chain.add();
      const before = await hostPorts();
      await collect([{ containerID: "chained", ifname: "eth0" }]);
      expect(await hostPorts()).toEqual(before);
      await chain.pass("CHECK", result);
      await chain.pass("DEL", result);
    },
  ],
  [
    "masq-05",
    "GC that lists nothing takes everything of its network away, and of no other",
    async () => {
      await mapped({}, { version: "1.1.0" }).add();
      const other = lab.chainOf([{ ...fairlead, ipam: { subnet: "10.1.2.0/24" } }], {
        name: "other",
        ifName: "net1",
      });
      const result = await other.add();
      await collect(null);
      expect(await hostPorts()).toEqual([]);
      await expect.poll(() => lab.inPod("ip", "-br", "link")).not.toContain("eth0");
      await other.pass("CHECK", result);
      await other.pass("DEL", result);
    },
  ],
];

const collect = (valid: unknown): Promise<void> =>
  lab
    .chainOf([{ ...fairlead, "cni.dev/valid-attachments": valid }], { version: "1.1.0" })
    .pass("GC");

const fromStatic = (ipam: object, more: object = {}, plugin: object = {}) =>
  lab.chainOf([{ ...fairlead, ipam: { type: "static", ...ipam }, ...plugin }], more);
const address = { address: "10.50.0.7/24", gateway: "10.50.0.1" };

const addresses: readonly Row[] = [
  [
    "static-02",
    "two routes to one destination, through different gateways",
    () => {
      const dst = "10.0.0.0/8";
      const routes = [
        { dst, gw: "10.50.0.2" },
        { dst, gw: "10.50.0.3" },
      ];
      return lab.live(fromStatic({ addresses: [address], routes }), async () =>
        expect(await lab.inPod("ip", "route", "get", "10.1.2.3")).toContain("via 169.254.1.1"),
      );
    },
  ],
  [
    "static-05",
    "the addresses that the runtime asks for, in place of the configured ones",
    () => {
      const capabilityArgs = { ips: ["10.60.0.9/24"] };
      const capabilities = { capabilities: { ips: true } };
      const chain = fromStatic({ addresses: [address] }, { capabilityArgs }, capabilities);
      return lab.live(chain, async ({ ips }) =>
        expect(ips.map((ip) => ip.address)).toEqual(["10.60.0.9/32"]),
      );
    },
  ],
  [
    "static-07",
    "an address asked for without `ipam`: our own gives it",
    () =>
      lab.live(lab.chainOf([fairlead], { args: "IP=10.244.1.77" }), async ({ ips }) =>
        expect(ips[0]?.address).toBe("10.244.1.77/32"),
      ),
  ],
  [
    "static-08",
    "a route whose destination has host bits",
    () => {
      const routes = [{ dst: "3ffe:ffff:0:01ff::1/64" }];
      const chain = fromStatic({ addresses: [{ address: "fd00:50::7/64" }], routes });
      return lab.live(chain, async () =>
        expect(await lab.inPod("ip", "-6", "route")).toContain("3ffe:ffff:0:1ff::/64 via fe80::1"),
      );
    },
  ],
  [
    "static-10",
    "two addresses of a family in 0.2.0, which has room for one",
    async () => {
      const two = [address, { address: "10.51.0.7/24" }];
      const chain = fromStatic({ addresses: two }, { version: "0.2.0" });
      expect((await chain.run("ADD")).error).toMatchObject({ code: expect.any(Number) });
      await chain.pass("DEL");
    },
  ],
];

const behind: readonly Row[] = [
  [
    "bw-03",
    "bandwidth leads what our interface gets to its own",
    () => {
      const bandwidth = { egressRate: 16e6, egressBurst: 8e6 };
      const chain = lab.chainOf(
        [fairlead, { type: "bandwidth", capabilities: { bandwidth: true } }],
        { capabilityArgs: { bandwidth } },
      );
      return lab.live(chain, async () => {
        const filters = await lab.onNode("tc", "filter", "show", "dev", hostInterface, "ingress");
        expect(filters.match(/flowid/g)).toHaveLength(1);
        expect(filters).toContain("mirred (Egress Redirect to device bwp");
        await lab.ping("10.244.1.2");
      });
    },
  ],
  ["tuning-09", "sysctl outside net", refusedBy("tuning", { sysctl: { "kernel.shmmax": "1" } })],
  ["tuning-10", "sysctl with ..", refusedBy("tuning", { sysctl: { "net/../kernel/shmmax": "1" } })],
  ["tuning-16", "a MAC that is none", refusedBy("tuning", { mac: "zz" })],
  [
    "tuning-12",
    "IFNAME stands for the interface",
    () => {
      const sysctl = { "net.ipv4.conf.IFNAME.arp_filter": "1" };
      const chain = lab.chainOf([fairlead, { type: "tuning", sysctl }]);
      const look = async (): Promise<void> =>
        expect(await lab.inPod("sysctl", "-n", "net.ipv4.conf.eth0.arp_filter")).toBe("1\n");
      // Debian's tuning (1.1.1) does not replace the word in its own CHECK.
      return lab.live(chain, look, lab.chainOf([fairlead]));
    },
  ],
  [
    "tuning-18",
    "DEL without tuning's backup, or without a sandbox",
    async () => {
      const plugins = [fairlead, { type: "tuning", mtu: 1400 }];
      const chain = lab.chainOf(plugins);
      const result = await chain.add();
      await lab.onNode("rm", "-r", "/run/cni/tuning");
      await chain.pass("DEL", result);
      await chain.add();
      await lab.chainOf(plugins, { netns: "" }).pass("DEL");
      await lab.onNode("rm", "-rf", "/run/cni/tuning");
    },
  ],
  [
    "tuning-19",
    "tuning's CHECK finds an interface that is promiscuous, which ours lets be",
    async () => {
      const chain = lab.chainOf([fairlead, { type: "tuning", promisc: false }]);
      const result = await chain.add();
      await lab.inPod("ip", "link", "set", "eth0", "promisc", "on");
      expect((await chain.run("CHECK", result)).error).toMatchObject({ plugin: "tuning" });
      await chain.pass("DEL", result);
    },
  ],
  [
    "fw-03",
    "a repeated ADD makes no rule twice",
    async () => {
      const chain = lab.chainOf([fairlead, { type: "firewall", backend: "iptables" }]);
      expect(await chain.add()).toEqual(await chain.add());
      const rules = await lab.onNode("iptables-save", "-t", "filter");
      expect(rules.match(/-A CNI-FORWARD -s 10\.244\.1\.2\/32 /g)).toHaveLength(1);
      await chain.pass("DEL");
      // Without a previous result firewall knows of no address: the rules go by one.
      await chain.pass("DEL", await chain.add());
    },
  ],
  [
    "fw-12",
    "without a backend and without firewalld it is iptables",
    () =>
      lab.live(lab.chainOf([fairlead, { type: "firewall" }]), async () =>
        expect(await lab.onNode("iptables-save", "-t", "filter")).toContain("-s 10.244.1.2/32"),
      ),
  ],
  [
    "fw-15",
    "an ingressPolicy that is none, which firewall refuses in DEL too: GC makes up for it",
    async () => {
      const chain = lab.chainOf([fairlead, { type: "firewall", ingressPolicy: "xyz" }]);
      for (const command of ["ADD", "DEL"] as const) {
        expect((await chain.run(command)).error).toMatchObject({ plugin: "firewall" });
      }
      await collect([]);
    },
  ],
];

const rows = [...interfaces, ...ports, ...addresses, ...behind];
test.each(rows)("%s: %s", async (_ids, _what, check) => {
  await check();
  await lab.expectClean();
});
