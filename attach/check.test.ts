import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CniCode } from "../core/cni/error.ts";
import type { CniResult } from "../core/cni/types.ts";
import { hostInterfaceName } from "../core/names.ts";
import type { FakeKernel } from "../kernel/fake.ts";
import {
  type TestNode,
  aRequest,
  createFakeMachine,
  createNode,
  forever,
} from "../test/attach/fixture.ts";
import { ifName, interfaceCidr, mac } from "../test/support/builders.ts";

let kernel: FakeKernel;
let node: TestNode;
let result: CniResult;
beforeEach(async () => {
  kernel = createFakeMachine();
  node = createNode(kernel);
  result = await node.handlers.add(aRequest(), forever);
});
afterEach(() => node[Symbol.dispose]());

const check = (prevResult: CniResult = result, netns = "/run/netns/c1") =>
  node.handlers.check(aRequest({ netns, conf: { prevResult } }), forever);
const problemsOf = async (checked: Promise<void>): Promise<unknown> => {
  try {
    await checked;
  } catch (error) {
    expect(error).toMatchObject({ code: CniCode.checkFailed });
    return (error as { details: string }).details;
  }
  return undefined;
};

describe("check()", () => {
  test("accepts what ADD left, and what a later plugin added to its result", async () => {
    await check();
    await check({
      ...result,
      interfaces: [{ name: "ifb0" }, ...result.interfaces],
      ips: [
        ...result.ips.map((given) => ({ ...given, interface: 2 })),
        { address: interfaceCidr("192.0.2.77/24"), interface: 0 },
      ],
    });
  });

  test("accepts a route of table 0, which the kernel keeps in the main table", async () => {
    const routes = [{ dst: interfaceCidr("10.0.0.0/8"), table: 0 }];
    const ipam = { type: "fairlead-ipam", ranges: [], routes, requestedIps: [] };
    const request = aRequest({ containerId: "c2", conf: { ipam } });
    const prevResult = await node.handlers.add(request, forever);
    await node.handlers.check({ ...request, conf: { ...request.conf, prevResult } }, forever);
  });

  test("takes a pair for another one by either end's index", async () => {
    const { key } = aRequest();
    const record = node.records.read(key)!;
    const wiring = { ...record.wired!.wiring, podIndex: 7 };
    node.records.write({ ...record, wired: { wiring, dns: {} } });
    expect(await problemsOf(check())).toBe(
      `node: interface "${hostInterfaceName(key)}" is not the one that ADD made\n` +
        'sandbox: interface "eth0" is not the one that ADD made',
    );
  });

  test("lets the neighbors follow a MAC that a later plugin gave, once (tuning-04)", async () => {
    const device = ifName("eth0");
    const tuned = mac("02:11:22:33:44:55");
    using sandbox = kernel.openSandbox("/run/netns/c1");
    const neighbors = sandbox.neighbors(device);
    sandbox.apply([{ kind: "set-link", device, settings: { mac: tuned } }]);
    expect(sandbox.neighbors(device)).toEqual([]);
    expect(await problemsOf(check())).toContain(
      'sandbox: interface "eth0" has MAC 02:11:22:33:44:55',
    );
    const interfaces = result.interfaces.map((given) =>
      given.name === "eth0" ? { ...given, mac: tuned } : given,
    );
    await check({ ...result, interfaces });
    expect(sandbox.neighbors(device)).toEqual(neighbors);
    const host = hostInterfaceName(aRequest().key);
    expect(kernel.neighbors(host).map((neighbor) => neighbor.mac)).toEqual([tuned]);
    expect(node.log.filter(({ message }) => message.endsWith("neighbors follow"))).toHaveLength(1);
    await check({ ...result, interfaces });
    expect(node.log.filter(({ message }) => message.endsWith("neighbors follow"))).toHaveLength(1);
    expect((await node.handlers.add(aRequest(), forever)).interfaces).toEqual(interfaces);
  });

  test("needs prevResult", async () =>
    await expect(node.handlers.check(aRequest(), forever)).rejects.toMatchObject({
      code: CniCode.invalidConfig,
    }));

  test("names everything that is missing, as the command that makes it", async () => {
    using sandbox = kernel.openSandbox("/run/netns/c1");
    const device = ifName("eth0");
    sandbox.apply([
      { kind: "remove-route", route: sandbox.routes({ device })[0]! },
      {
        kind: "replace-neighbor",
        neighbor: { ...sandbox.neighbors(device)[0]!, mac: mac("02:66:66:66:66:66") },
      },
    ]);
    await node.ipam.release(aRequest().key, forever);
    expect(await problemsOf(check())).toMatchInlineSnapshot(`
      "sandbox: missing what "ip route add 0.0.0.0/0 via 169.254.1.1 dev eth0 onlink proto 76" makes
      sandbox: missing what "ip neighbor replace 169.254.1.1 lladdr e2:69:7c:77:ce:48 dev eth0 nud permanent" makes
      leases: address 10.244.1.2 is not held by this attachment"
    `);
  });

  test("names an address that the result has no more", async () =>
    expect(await problemsOf(check({ ...result, ips: [] }))).toBe(
      'prevResult: address 10.244.1.2 of "eth0" is missing',
    ));

  test("names another sandbox", async () =>
    expect(await problemsOf(check(result, "/run/netns/c2"))).toBe(
      '"/run/netns/c2" is another sandbox than ADD was given\nsandbox: interface "eth0" is missing',
    ));

  test("names an interface that was made by somebody else", async () => {
    const record = node.records.read(aRequest().key)!;
    const { wired } = record;
    const wiring = { ...wired!.wiring, hostIndex: 1, podIndex: 2 };
    node.records.write({ ...record, wired: { ...wired!, wiring } });
    expect(await problemsOf(check())).toMatch(
      /^node: interface "fl.*" is not the one that ADD made$/m,
    );
  });

  test("says when there was no ADD", async () => {
    node.records.remove(aRequest().key);
    expect(await problemsOf(check())).toBe("no completed ADD is on record");
  });
});
