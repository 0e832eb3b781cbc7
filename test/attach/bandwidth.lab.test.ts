// The bandwidth capability on the real kernel, with real traffic. Bounds are wide: a busy machine may
// be slower than the limit, and a limit that is not there is off by a hundred times.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { AttachmentRequest, Bandwidth } from "../../core/cni/types.ts";
import { hostInterfaceName, parseIfName } from "../../core/names.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { openKernel } from "../../kernel/linux.ts";
import { type TestNamespace, createNamespace } from "../support/netns.ts";
import { type TestNode, aRequest, createNode, dualStackFacts, forever } from "./fixture.ts";
import { throughput } from "./traffic.ts";

let stack: DisposableStack;
let host: TestNamespace;
let pod: TestNamespace;
let kernel: Kernel;
let node: TestNode;

beforeEach(() => {
  stack = new DisposableStack();
  host = stack.use(createNamespace());
  pod = stack.use(createNamespace());
  host.run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "wire");
  for (const end of ["uplink", "wire"]) host.run("ip", "link", "set", end, "up");
  host.run("ip", "address", "add", "192.0.2.1/24", "dev", "uplink");
  host.run("ip", "address", "add", "2001:db8::1/64", "dev", "uplink", "nodad");
  kernel = stack.use(openKernel({ namespace: host.path }));
  node = stack.use(createNode(kernel, { nodeFacts: () => dualStackFacts }));
});
afterEach(async () => {
  await node.handlers.settled();
  stack.dispose();
});

const eth0 = parseIfName("eth0")!;
const requestWith = (bandwidth?: Bandwidth): AttachmentRequest =>
  aRequest({
    containerId: pod.name,
    netns: pod.path,
    conf: bandwidth === undefined ? {} : { bandwidth },
  });
const add = (request: AttachmentRequest) => node.handlers.add(request, forever);
const rate = 20_000_000;
const limit = { rate, burst: 400_000 };

function expectLimited(measured: number): void {
  expect(measured).toBeGreaterThan(rate * 0.5);
  expect(measured).toBeLessThan(rate * 1.5);
}

describe("a limit", () => {
  test("of both directions holds in both, over IPv4 and IPv6", async () => {
    const [ipv4, ipv6] = (await add(requestWith({ ingress: limit, egress: limit }))).ips;
    expectLimited(await throughput(host, pod, ipv4!.address.address));
    expectLimited(await throughput(host, pod, ipv6!.address.address));
    expectLimited(await throughput(pod, host, "192.0.2.1"));
    expectLimited(await throughput(pod, host, "2001:db8::1"));
  });

  test.each([
    ["ingress", { ingress: limit }],
    ["egress", { egress: limit }],
  ])("of %s alone leaves the other direction as it is (bw-04)", async (_direction, bandwidth) => {
    const [ip] = (await add(requestWith(bandwidth))).ips;
    const [toPod, fromPod] = [
      await throughput(host, pod, ip!.address.address),
      await throughput(pod, host, "192.0.2.1"),
    ];
    const [limited, free] = "ingress" in bandwidth ? [toPod, fromPod] : [fromPod, toPod];
    expectLimited(limited);
    expect(free).toBeGreaterThan(rate * 5);
  });

  test("is that of the rate when the runtime knows no burst (bw-13, rt-02)", async () => {
    const noBurst = { rate, burst: 2 ** 32 - 1 };
    const [ip] = (await add(requestWith({ ingress: noBurst }))).ips;
    expectLimited(await throughput(host, pod, ip!.address.address));
  });

  test("of a terabit a second is as good as none (bw-15)", async () => {
    const huge = { rate: 10 ** 12, burst: 10 ** 9 };
    const [ip] = (await add(requestWith({ ingress: huge, egress: huge }))).ips;
    expect(await throughput(host, pod, ip!.address.address)).toBeGreaterThan(rate * 5);
  });
});

describe("shaping", () => {
  const tc = (namespace: TestNamespace, device: string): string =>
    namespace.run("tc", "qdisc", "show", "dev", device, "root");

  test("is what tc shows, and gone after DEL with all the rest (bw-18)", async () => {
    const request = requestWith({ ingress: limit, egress: { rate: 8_000, burst: 80 } });
    await add(request);
    const hostDevice = hostInterfaceName(request.key);
    expect(tc(host, hostDevice)).toMatch(/^qdisc tbf .* rate 20Mbit burst 50000b lat 25ms/);
    // One whole packet, 1,464 octets: with the ten that were asked for nothing would ever pass.
    expect(tc(pod, "eth0")).toMatch(/^qdisc tbf .* rate 8Kbit burst 146[34]b lat 25ms/);
    for (let i = 0; i < 2; i++) await node.handlers.del(request, forever);
    await node.handlers.settled();
    expect(node.leftovers()).toEqual([]);
    expect(pod.run("tc", "qdisc", "show")).not.toContain("tbf");
    expect(host.run("tc", "qdisc", "show")).not.toMatch(/tbf|ifb/);
  });

  test("is not there without the capability (bw-24)", async () => {
    await add(requestWith());
    expect(pod.run("tc", "qdisc", "show")).not.toContain("tbf");
    expect(host.run("tc", "qdisc", "show")).not.toContain("tbf");
  });

  test("that is missing or altered is found by CHECK and mended by ADD", async () => {
    const request = requestWith({ ingress: limit, egress: limit });
    const prevResult = await add(request);
    const check = () =>
      node.handlers.check({ ...request, conf: { ...request.conf, prevResult } }, forever);
    await check();
    const hostDevice = hostInterfaceName(request.key);
    pod.run("tc", "qdisc", "del", "dev", "eth0", "root");
    const faster = ["tbf", "rate", "40mbit", "burst", "50000b", "limit", "112500b"];
    host.run("tc", "qdisc", "replace", "dev", hostDevice, "root", ...faster);
    const line = "root tbf rate 2500000bps burst 50000b limit 112500b";
    await expect(check()).rejects.toMatchObject({
      details: [
        `node: missing what "tc qdisc replace dev ${hostDevice} ${line}" makes`,
        `sandbox: missing what "tc qdisc replace dev eth0 ${line}" makes`,
      ].join("\n"),
    });
    expect(await add(request)).toEqual(prevResult);
    await check();
  });

  test("follows what a repeated ADD asks for", async () => {
    const first = await add(requestWith({ ingress: limit }));
    using sandbox = kernel.openSandbox(pod.path);
    expect(sandbox.shaping(eth0)).toBeUndefined();
    const again = await add(requestWith({ egress: limit }));
    expect(again.ips).toEqual(first.ips);
    expect(sandbox.shaping(eth0)?.rate).toBe(rate / 8);
    expect(kernel.shaping(hostInterfaceName(requestWith().key))).toBeUndefined();
  });
});
