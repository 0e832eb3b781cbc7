// fairlead with the addresses of Debian's IPAM plugin dhcp, and dnsmasq on the node as docs/guide.md sets
// it up.
//
//   pod eth0 ── DISCOVER to all ── flXXXXXXXXXXXX, no address ── dnsmasq ── dhcp0 10.7.0.1/24
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { type ChainNode, build, openChainNode, pluginPath, waiting } from "./chain-node.ts";

let lab: ChainNode;
beforeAll(() => void build());
beforeEach(async () => void (lab = await openChainNode()));
afterEach(() => lab[Symbol.asyncDispose]());

// All of it ends with its standard input, which ends with the node. A bridge in the place of a dummy
// device, which is not everywhere.
const daemonScript = `mkdir -p /run/cni
/usr/lib/cni/dhcp daemon 2>/run/dhcp.log & daemon=$!
until [ -S /run/cni/dhcp.sock ]; do sleep 0.01; done
echo on; cat; kill $daemon; rm -r /run/cni`;
const server = (more = "") => `ip link show dhcp0 >/run/links 2>&1 || ip link add dhcp0 type bridge
ip address replace 10.7.0.1/24 dev dhcp0; ip link set dhcp0 up
dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file= --user=root --port=0 --no-ping \
  --interface=dhcp0 --bridge-interface='dhcp0,fl*' ${more} \
  --dhcp-range=10.7.0.10,10.7.0.250,1h --dhcp-option=option:dns-server,10.7.0.53 \
  --dhcp-leasefile=/run/leases --log-facility=/run/dnsmasq.log & server=$!
until grep -qs started /run/dnsmasq.log; do sleep 0.01; done
echo on; cat; kill $server; ip link delete dhcp0`;
const newerScript = `mkdir /run/newer; cat >/run/newer/dhcp <<'END'
#!/bin/sh
[ $CNI_COMMAND = GC ] || sed 's/"1\\.1\\.0"/"1.0.0"/' | /usr/lib/cni/dhcp
END
chmod +x /run/newer/dhcp`;
const conf = { cniVersion: "1.0.0", name: "other", type: "fairlead", ipam: { type: "dhcp" } };
const start = (script: string) => lab.node.start(["sh", "-c", script]);

const chain = () => lab.chainOf([{ type: "fairlead", ipam: { type: "dhcp" } }], { name: "other" });
const leases = () => lab.onNode("cat", "/run/leases");
const said = async (word: string) =>
  (await lab.onNode("cat", "/run/dnsmasq.log")).split(word).length - 1;

/** The server says nothing to a release, and takes it in its own time. */
const isGivenBack = () => vi.waitFor(async () => expect(await leases()).toBe(""), waiting);

/** That nothing is left but what the test itself set up. */
async function expectNothingLeft(): Promise<void> {
  await vi.waitFor(async () => {
    expect(await lab.inPod("ip", "-o", "link")).toMatch(/^1: lo:.*\n$/);
    expect(await lab.onNode("ip", "-o", "link")).not.toContain("fl");
    expect(await lab.onNode("ip", "route", "show", "proto", "76")).toBe("");
    expect(await lab.onNode("ls", "/run/fairlead/attachments")).toBe("");
  }, waiting);
}

// Without the option dnsmasq answers to the pod's MAC, by a neighbor entry that ages.
test.each(["", "--dhcp-broadcast"])(
  "an address is attached, checked, given again and given back: dnsmasq %s",
  async (option) => {
    await start(daemonScript);
    await start(server(option));
    const result = await chain().add();
    const [address = ""] = result.ips.map((ip) => ip.address.split("/")[0]);
    expect(address).toMatch(/^10\.7\.0\./);
    expect(result.ips).toEqual([
      { address: `${address}/32`, gateway: "169.254.1.1", interface: 1 },
    ]);
    expect(result.routes).toEqual([{ dst: "0.0.0.0/0", gw: "169.254.1.1" }]);
    await lab.ping(address);
    expect(await leases()).toContain(address);
    // CHECK asks the server anew (1.1.1): that changes nothing.
    for (let i = 0; i < 2; i++) await chain().pass("CHECK", result);
    expect(await chain().add()).toEqual(result);
    await chain().pass("CHECK", result);
    expect(await said("DHCPRELEASE")).toBe(0);
    await chain().pass("DEL", result);
    await chain().pass("DEL");
    await isGivenBack();
    expect(await said("DHCPRELEASE")).toBe(1);
    await expectNothingLeft();
    // The same pod gets it again.
    expect((await chain().add()).ips).toEqual(result.ips);
  },
);

test("a client in the pod renews with the server alone, through its default route", async () => {
  await start(daemonScript);
  await start(server());
  await chain().add();
  const [, , address = "", , clientId = ""] = (await leases()).trim().split(" ");
  const before = await said("DHCPACK");
  const script = join(import.meta.dirname, "dhcp-renew.ts");
  expect(await lab.inPod(process.execPath, script, "10.7.0.1", address, clientId)).toBe(
    "message 5\n",
  );
  expect(await said("DHCPACK")).toBe(before + 1);
});

test("an attachment that is not whole is made again with the same address", async () => {
  await start(daemonScript);
  await start(server());
  const result = await chain().add();
  await lab.inPod("ip", "link", "delete", "eth0");
  expect(await chain().add()).toEqual(result);
  await chain().pass("CHECK", result);
  await chain().pass("DEL", result);
  await expectNothingLeft();
});

test("without its daemon ADD fails and leaves nothing, and DEL succeeds", async () => {
  expect((await chain().run("ADD")).error).toMatchObject({ code: 999 });
  await expectNothingLeft();
  for (let i = 0; i < 2; i++) await chain().pass("DEL");
});

test("a daemon that is gone does not keep DEL from removing the attachment", async () => {
  const daemon = await start(daemonScript);
  await start(server());
  const result = await chain().add();
  daemon.stdin?.end();
  await new Promise((resolve) => daemon.once("exit", resolve));
  await chain().pass("DEL", result);
  await expectNothingLeft();
});

test("GC gives back the lease of an attachment that nobody lists", async () => {
  await start(daemonScript);
  await start(server());
  // Debian's dhcp is older than the version that has GC.
  await lab.onNode("sh", "-c", newerScript);
  await chain().add();
  const { status } = await lab.node.run(
    [`${pluginPath[0]}/fairlead`],
    { PATH: "/usr/bin:/bin", CNI_COMMAND: "GC", CNI_PATH: "/run/newer" },
    JSON.stringify({ ...conf, cniVersion: "1.1.0", "cni.dev/valid-attachments": [] }),
  );
  expect(status).toBe(0);
  await isGivenBack();
  await expectNothingLeft();
});

test("an ADD that nobody answers fails and leaves nothing", async () => {
  await start(daemonScript);
  const { error } = await chain().run("ADD");
  expect(error).toMatchObject({ code: 11, msg: expect.stringContaining("dhcp") });
  await expectNothingLeft();
});

test("an ADD that nobody answers, killed, leaves nothing after DEL", async () => {
  await start(daemonScript);
  await killed(whenAttached);
  expect(await lab.inPod("ip", "-o", "link")).toContain("eth0");
  await chain().pass("DEL");
  await expectNothingLeft();
});

test("an ADD killed at any time leaves nothing after DEL", async () => {
  await start(daemonScript);
  await start(server());
  for (let seconds = 0.1; seconds < 0.45; seconds += 0.05) {
    await killed(`sleep ${seconds}`);
    await chain().pass("DEL");
    await expectNothingLeft();
    await isGivenBack();
  }
});

// Half a minute at most, against hanging alone.
const whenAttached = `for i in $(seq 3000); do
  nsenter --net=$CNI_NETNS ip link show eth0 >/dev/null 2>&1 && break
  sleep 0.01
done`;

/** An ADD whose plugin is killed, with all that it started, when a shell command has ended. */
async function killed(when: string): Promise<void> {
  const env = {
    PATH: "/usr/bin:/bin",
    CNI_COMMAND: "ADD",
    CNI_CONTAINERID: "chained",
    CNI_NETNS: lab.netns,
    CNI_IFNAME: "eth0",
    CNI_PATH: pluginPath.join(":"),
  };
  const script = `set -m; "$0" & ${when}; kill -KILL -- -$! 2>/dev/null`;
  const command = ["bash", "-c", script, `${pluginPath[0]}/fairlead`];
  await lab.node.run(command, env, JSON.stringify(conf));
}
