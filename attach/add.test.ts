import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CniCode } from "../core/cni/error.ts";
import { formatResult } from "../core/cni/result.ts";
import type { AttachmentRequest, CniResult } from "../core/cni/types.ts";
import { hostInterfaceName } from "../core/names.ts";
import type { Route } from "../core/network.ts";
import type { FakeKernel } from "../kernel/fake.ts";
import {
  type TestNode,
  aRequest,
  createFakeMachine,
  createNode,
  dualStackFacts,
  forever,
} from "../test/attach/fixture.ts";
import { cidr, ifName, interfaceCidr, ip } from "../test/support/builders.ts";

let kernel: FakeKernel;
let node: TestNode;

beforeEach(() => {
  kernel = createFakeMachine();
  node = createNode(kernel);
});
afterEach(() => node[Symbol.dispose]());

const expectNothingOpen = (): void => expect(kernel.openSandboxes).toBe(0);
const expectNothingLeft = (): void => expect(node.leftovers()).toEqual([]);
afterEach(expectNothingOpen);

const add = (request: AttachmentRequest): Promise<CniResult> => node.handlers.add(request, forever);
const addressesOf = (result: CniResult) => result.ips.map((given) => given.address.address);

describe("add()", () => {
  test("gives an attachment, and says what it made", async () => {
    const result = await add(aRequest());
    expect(formatResult(result, "1.0.0")).toMatchInlineSnapshot(`
      "{
          "cniVersion": "1.0.0",
          "dns": {
              "nameservers": [
                  "10.96.0.10"
              ],
              "options": [
                  "ndots:5"
              ],
              "search": [
                  "svc.cluster.local",
                  "cluster.local",
                  "fairlead.cluster.local"
              ]
          },
          "interfaces": [
              {
                  "mac": "e2:69:7c:77:ce:48",
                  "mtu": 1450,
                  "name": "fld20df175a181"
              },
              {
                  "mac": "f6:fe:1b:ee:26:62",
                  "mtu": 1450,
                  "name": "eth0",
                  "sandbox": "/run/netns/c1"
              }
          ],
          "ips": [
              {
                  "address": "10.244.1.2/32",
                  "gateway": "169.254.1.1",
                  "interface": 1
              }
          ],
          "routes": [
              {
                  "dst": "0.0.0.0/0",
                  "gw": "169.254.1.1"
              }
          ]
      }"
    `);
  });

  test.each(["../..", "a b", "Shop", "shop."])("searches in no namespace %j", async (namespace) => {
    const result = await add(aRequest({ args: new Map([["K8S_POD_NAMESPACE", namespace]]) }));
    expect(result.dns.search).toEqual([
      "svc.cluster.local",
      "cluster.local",
      "fairlead.cluster.local",
    ]);
  });

  test("puts the search path of the pod's namespace first, and names the pod on its interface", async () => {
    const request = aRequest({
      args: new Map([
        ["K8S_POD_NAMESPACE", "shop"],
        ["K8S_POD_NAME", "cart-0"],
      ]),
    });
    const result = await add(request);
    expect(result.dns.search).toEqual([
      "shop.svc.cluster.local",
      "svc.cluster.local",
      "cluster.local",
      "fairlead.cluster.local",
    ]);
    expect(kernel.link(hostInterfaceName(request.key))?.alias).toBe("fairlead:shop/cart-0");
    expect(node.records.read(request.key)?.pod).toEqual({ namespace: "shop", name: "cart-0" });
  });

  test.each([["Cart 0"], ["../cart"], [""]])("takes %j for no pod's name", async (name) => {
    const args = new Map([["K8S_POD_NAMESPACE", "shop"]]).set("K8S_POD_NAME", name);
    const { key } = aRequest();
    await add(aRequest({ args }));
    expect(kernel.link(hostInterfaceName(key))).not.toHaveProperty("alias");
    expect(node.records.read(key)).not.toHaveProperty("pod");
  });

  test("gives the resolver that the configuration names", async () => {
    const { dns } = await add(aRequest({ conf: { dns: { nameservers: ["192.0.2.53"] } } }));
    expect(dns).toEqual({ nameservers: ["192.0.2.53"] });
  });

  test("takes an empty dns in the configuration for none", async () => {
    const { dns } = await add(aRequest({ conf: { dns: {} } }));
    expect(dns.nameservers).toEqual(["10.96.0.10"]);
  });

  test("gives the configuration's MTU", async () => {
    await add(aRequest({ conf: { mtu: 9000 } }));
    using sandbox = kernel.openSandbox("/run/netns/c1");
    expect(sandbox.link("eth0")?.mtu).toBe(9000);
  });
});

describe("a repeated add()", () => {
  test("gives the same result, and makes nothing", async () => {
    const first = await add(aRequest());
    const links = kernel.links();
    expect(await add(aRequest())).toEqual(first);
    expect(kernel.links()).toEqual(links);
  });

  test("gives the same addresses in a sandbox made anew", async () => {
    const first = await add(aRequest());
    kernel.removeSandbox("/run/netns/c1");
    kernel.addSandbox("/run/netns/c1");
    const second = await add(aRequest());
    expect(addressesOf(second)).toEqual(addressesOf(first));
    using sandbox = kernel.openSandbox("/run/netns/c1");
    expect(sandbox.link("eth0")).toBeDefined();
  });

  test("gives the same addresses where the old sandbox lives on under another name", async () => {
    const first = await add(aRequest());
    const second = await add(aRequest({ netns: "/run/netns/c2" }));
    expect(addressesOf(second)).toEqual(addressesOf(first));
    using old = kernel.openSandbox("/run/netns/c1");
    expect(old.link("eth0")).toBeUndefined();
  });

  test("builds a damaged attachment again", async () => {
    const first = await add(aRequest());
    kernel.apply([
      {
        kind: "remove-route",
        route: kernel.routes({ device: hostInterfaceName(aRequest().key) })[0]!,
      },
    ]);
    expect(addressesOf(await add(aRequest()))).toEqual(addressesOf(first));
    expect(kernel.routes({ protocol: 76 })).toHaveLength(1);
  });

  test("reserves again when the leases were lost", async () => {
    await add(aRequest());
    await node.ipam.release(aRequest().key, forever);
    const [address] = addressesOf(await add(aRequest()));
    expect((await node.ipam.leases("fairlead")).map((lease) => lease.address)).toEqual([address]);
    expect(kernel.routes({ protocol: 76 }).map(({ destination }) => destination)).toEqual([
      `${address}/32`,
    ]);
  });

  test("frees the first addresses when the configuration keeps its leases elsewhere by now", async () => {
    await add(aRequest());
    const ipam = { ...otherRange, dataDir: join(node.directory, "elsewhere") };
    expect(addressesOf(await add(aRequest({ conf: { ipam } })))).toEqual(["10.9.0.2"]);
    expect(await node.ipam.leases("fairlead")).toEqual([]);
  });

  test("takes a record that is torn as absent", async () => {
    const first = await add(aRequest());
    const [file] = node.leftovers();
    writeFileSync(file!, '{"version":1,"key');
    expect(addressesOf(await add(aRequest()))).toEqual(addressesOf(first));
    expect(node.log.map(({ message }) => message)).toContain(
      "attachment record is unreadable: taken as absent",
    );
  });
});

describe("add() refuses, and leaves nothing,", () => {
  afterEach(expectNothingLeft);

  test("an interface name that something else has in the sandbox", async () => {
    await add(aRequest({ conf: { name: "other", ipam: otherRange } }));
    const before = node.leftovers();
    await expect(add(aRequest())).rejects.toMatchObject({
      code: CniCode.interfaceTaken,
      message:
        'Cannot add interface "eth0" to "/run/netns/c1": it has one already that is not this attachment\'s',
    });
    expect(node.leftovers()).toEqual(before);
    await node.handlers.del(aRequest({ conf: { name: "other", ipam: otherRange } }), forever);
  });

  test("a sandbox that does not exist", async () =>
    await expect(add(aRequest({ netns: "/run/netns/none" }))).rejects.toMatchObject({
      code: CniCode.invalidEnvironment,
      message: 'Cannot open CNI_NETNS "/run/netns/none": it does not exist',
    }));

  test("the node's own namespace, but for who insists", async () => {
    const { identity, [Symbol.dispose]: close } = kernel.openSandbox("/run/netns/c1");
    close();
    using other = createNode({ ...kernel, identity });
    await expect(other.handlers.add(aRequest(), forever)).rejects.toMatchObject({
      code: CniCode.invalidNetns,
    });
    expectNothingOpen();
    const environment = { CNI_NETNS_OVERRIDE: "True" };
    expect((await other.handlers.add(aRequest({ environment }), forever)).ips).toHaveLength(1);
    await other.handlers.del(aRequest(), forever);
    await other.handlers.settled();
  });

  test("a network that is not the daemon's and has no ranges", async () =>
    await expect(add(aRequest({ conf: { name: "other" } }))).rejects.toMatchObject({
      code: CniCode.invalidConfig,
      message: expect.stringContaining('expected the daemon\'s network "fairlead"'),
    }));

  test("a delegated plugin that is nowhere in CNI_PATH", async () =>
    await expect(
      add(
        aRequest({
          conf: { ipam: { ...otherRange, type: "no-such-ipam" } },
          environment: { CNI_PATH: "/nowhere:/opt/none" },
        }),
      ),
    ).rejects.toMatchObject({
      code: CniCode.invalidConfig,
      message:
        'Cannot find IPAM plugin "no-such-ipam": no such file in CNI_PATH "/nowhere:/opt/none"',
    }));

  test("a request that was aborted", async () => {
    const controller = new AbortController();
    controller.abort(new Error("deadline"));
    await expect(node.handlers.add(aRequest(), controller.signal)).rejects.toThrow("deadline");
  });
});

test("a delegated plugin that fails is told DEL, and its code is kept", async () => {
  const calls = join(node.directory, "calls");
  const plugin = join(node.directory, "busy-ipam");
  writeFileSync(
    plugin,
    `#!/bin/sh\necho $CNI_COMMAND >>${calls}\n` +
      `[ $CNI_COMMAND = DEL ] || { echo '{"code":11,"msg":"busy"}'; exit 1; }\n`,
    { mode: 0o755 },
  );
  const ipam = { type: "busy-ipam", ranges: [], routes: [], requestedIps: [] };
  const request = aRequest({ conf: { ipam }, environment: { CNI_PATH: node.directory } });
  await expect(add(request)).rejects.toMatchObject({ code: 11, message: "busy" });
  expect(readFileSync(calls, "utf8")).toBe("ADD\nDEL\n");
  expect(node.leftovers()).toEqual([]);
});

describe("requests at the same time", () => {
  test("give every attachment addresses of its own", async () => {
    const requests = Array.from({ length: 50 }, (_, i) => aRequest({ containerId: `n${i}` }));
    for (const { netns } of requests) kernel.addSandbox(netns);
    const results = await Promise.all(requests.map(add));
    expect(new Set(results.flatMap(addressesOf)).size).toBe(50);
    await Promise.all(requests.map((request) => node.handlers.del(request, forever)));
    await node.handlers.settled();
    expect(node.leftovers()).toEqual([]);
  });

  test("of one attachment follow one another", async () => {
    const request = aRequest();
    const work = Array.from({ length: 12 }, (_, i) =>
      i % 3 === 2 ? node.handlers.del(request, forever) : add(request),
    );
    await Promise.all(work);
    const held = await node.ipam.leases("fairlead");
    const record = node.records.read(request.key);
    expect(held).toHaveLength(record === undefined ? 0 : 1);
    expect(kernel.link(hostInterfaceName(request.key)) === undefined).toBe(record === undefined);
    await node.handlers.del(request, forever);
    await node.handlers.settled();
    expect(node.leftovers()).toEqual([]);
  });
});

const otherRange = {
  type: "fairlead-ipam",
  ranges: [[{ subnet: cidr("10.9.0.0/24") }]],
  routes: [],
  requestedIps: [],
};

describe("a network of its own", () => {
  test("is attached and routed on this node", async () => {
    const result = await add(aRequest({ conf: { name: "other", ipam: otherRange } }));
    expect(addressesOf(result)).toEqual([ip("10.9.0.2")]);
    expect(kernel.routes({ protocol: 76 }).map(({ destination }) => destination)).toEqual([
      cidr("10.9.0.2/32"),
    ]);
  });

  test("has the routes that its configuration asks for", async () => {
    const routes = [{ dst: interfaceCidr("10.0.0.0/8"), priority: 20, table: 0 }];
    const result = await add(
      aRequest({ conf: { name: "other", ipam: { ...otherRange, routes } } }),
    );
    expect(result.routes).toEqual([
      { dst: interfaceCidr("10.0.0.0/8"), gw: ip("169.254.1.1"), priority: 20, table: 0 },
    ]);
  });
});

test("routes that differ in their gateways alone are one", async () => {
  const dst = interfaceCidr("10.0.0.0/8");
  const routes = [
    { dst, gw: ip("10.9.0.1") },
    { dst, gw: ip("10.9.0.9") },
  ];
  const result = await add(aRequest({ conf: { name: "other", ipam: { ...otherRange, routes } } }));
  expect(result.routes).toEqual([{ dst, gw: ip("169.254.1.1") }]);
});

describe("interface indexes", () => {
  test("are drawn again when one is taken", async () => {
    const draws = [5, 6, 5, 7, 8, 9];
    using other = createNode(kernel, { random: { below: () => draws.shift()! } });
    const request = (containerId: string) => aRequest({ containerId });
    await other.handlers.add(request("c1"), forever);
    await other.handlers.add(request("c2"), forever);
    expect(kernel.link(hostInterfaceName(request("c2").key))?.index).toBe(2 ** 20 + 8);
    expect(draws).toEqual([]);
  });

  test("are drawn a bounded number of times", async () => {
    using other = createNode(kernel, { random: { below: () => 5 } });
    await other.handlers.add(aRequest(), forever);
    const second = aRequest({ containerId: "c2" });
    await expect(other.handlers.add(second, forever)).rejects.toMatchObject({
      code: CniCode.internal,
    });
    expect(other.records.read(second.key)).toBeUndefined();
    expect(await other.ipam.leases("fairlead")).toHaveLength(1);
  });
});

test("a dual-stack sandbox that refuses IPv6 gets it switched on, once", async () => {
  using dual = createNode(kernel, { nodeFacts: () => dualStackFacts });
  kernel.failNext(
    (change) => change.kind === "add-address" && change.address.address.includes(":"),
    "EACCES",
  );
  const isInside = ({ destination, type }: Route): boolean =>
    destination === "::/0" || type === "local";
  for (let i = 0; i < 2; i++) {
    kernel.failNext((change) => change.kind === "add-route" && isInside(change.route), "EACCES");
  }
  const result = await dual.handlers.add(aRequest(), forever);
  expect(addressesOf(result)).toEqual([ip("10.244.1.2"), ip("fd00:10:244:1::2")]);
  using sandbox = kernel.openSandbox("/run/netns/c1");
  expect(sandbox.addresses(ifName("eth0"))).toHaveLength(2);
  expect(sandbox.routes({ device: ifName("eth0") })).toHaveLength(3);
});
